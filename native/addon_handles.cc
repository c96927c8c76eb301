#include "addon_handles.h"

#include <algorithm>
#include <exception>

namespace nodevae {

void PromiseJob::execute(Pool& pool, const std::atomic<bool>& abandon) noexcept {
  try {
    work(pool, abandon);
  } catch (const std::bad_alloc&) {
    problem_ = "out of memory";
  } catch (const std::exception& error) {
    problem_ = error.what();
  } catch (...) {
    problem_ = "unknown fault";
  }
}

void PromiseJob::settle(Napi::Env env) {
  try {
    if (problem_.empty())
      deferred.Resolve(result(env));
    else
      deferred.Reject(to_error(env, {"native", problem_}).Value());
  } catch (const Napi::Error& error) { // no memory for the result
    deferred.Reject(error.Value());
  }
}

namespace {

// On the JavaScript thread, once per finished job; with a null env when the environment has gone down meanwhile.
void settle_job(napi_env env, napi_value, void* context, void* data) {
  const std::unique_ptr<PromiseJob> job(static_cast<PromiseJob*>(data));
  if (env == nullptr) return;
  Channel& channel = *static_cast<Channel*>(context);
  if (--channel.pending == 0) napi_unref_threadsafe_function(env, channel.function);
  job->settle(env);
}

// worker.terminate() and the end of a process come here: the thread must be gone before its environment is. Runs
// before the clean-up of the thread-safe function, which was registered earlier.
void clean_up(void* data) {
  Channel& channel = *static_cast<Channel*>(data);
  channel.cleaned_up = true;
  channel.queue->abandon();
  channel.queue->join();
}

// The thread has let go of the thread-safe function, so it is ending: this join does not wait.
void finalize_channel(napi_env env, void* data, void*) {
  const std::unique_ptr<std::shared_ptr<Channel>> channel(static_cast<std::shared_ptr<Channel>*>(data));
  if (!(*channel)->cleaned_up) napi_remove_env_cleanup_hook(env, clean_up, channel->get());
  (*channel)->queue->join();
}

} // namespace

void ContextHandle::start(Napi::Env env) {
  auto channel = std::make_shared<Channel>();
  channel->queue = std::make_shared<Queue>(threads);
  auto owned = std::make_unique<std::shared_ptr<Channel>>(channel);
  if (napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "node-vae"), 0, 1, owned.get(),
                                      finalize_channel, channel.get(), settle_job, &channel->function) != napi_ok)
    throw Failure{"native", "no thread-safe function could be made"};
  owned.release();
  napi_unref_threadsafe_function(env, channel->function);
  napi_add_env_cleanup_hook(env, clean_up, channel.get());
  const napi_threadsafe_function function = channel->function;
  try {
    channel->queue->start(
        [function](std::unique_ptr<Job> job) {
          if (napi_call_threadsafe_function(function, job.get(), napi_tsfn_nonblocking) == napi_ok) job.release();
        },
        [function] { napi_release_threadsafe_function(function, napi_tsfn_release); });
  } catch (const std::exception& error) {
    napi_release_threadsafe_function(function, napi_tsfn_release);
    throw Failure{"native", std::string("no thread could be started: ") + error.what()};
  }
  channel_ = std::move(channel);
}

Napi::Promise ContextHandle::enqueue(Napi::Env env, std::unique_ptr<PromiseJob> job) {
  if (closed_) throw Failure{"disposed", "the device is closed"};
  if (!channel_) start(env);
  if (channel_->cleaned_up) throw Failure{"disposed", "the environment is going down"};
  if (channel_->pending++ == 0) napi_ref_threadsafe_function(env, channel_->function);
  const Napi::Promise promise = job->deferred.Promise();
  channel_->queue->push(std::move(job));
  return promise;
}

void ContextHandle::close() {
  closed_ = true;
  if (channel_) channel_->queue->close();
  channel_.reset();
}

void ContextHandle::add_run(const Session* session, const std::shared_ptr<RunControl>& control) {
  runs_.erase(std::remove_if(runs_.begin(), runs_.end(), [](const Run& run) { return run.control.expired(); }),
              runs_.end());
  runs_.push_back({session, control});
}

void ContextHandle::stop_runs(const Session* session) {
  for (const Run& run : runs_)
    if (const auto control = run.control.lock(); control && (session == nullptr || session == run.session))
      control->stop.store(true);
}

} // namespace nodevae
