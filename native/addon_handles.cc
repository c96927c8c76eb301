#include "addon_handles.h"

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

namespace nodevae {

void PromiseJob::execute(Pool& pool, const std::atomic<bool>& abandon) noexcept {
  try {
    work(pool, abandon);
  } catch (...) {
    problem_ = std::current_exception();
  }
}

Napi::Promise PromiseJob::promise(Napi::Env env) {
  napi_value promise = nullptr;
  if (napi_create_promise(env, &deferred_, &promise) != napi_ok) throw Napi::Error::New(env);
  return Napi::Promise(env, promise);
}

// Node may call this while it ends the environment (worker.terminate(), process.exit() beside a worker). Then no call
// does anything but fail, and there is nobody to await the promise.
void PromiseJob::settle(Napi::Env env) noexcept {
  napi_value value = nullptr;
  try {
    if (problem_) std::rethrow_exception(problem_);
    value = result(env);
    napi_resolve_deferred(env, deferred_, value);
  } catch (...) { // the job's fault, or no memory for its result
    value = current_error(env);
    if (value != nullptr) napi_reject_deferred(env, deferred_, value);
  }
}

namespace {

// On the JavaScript thread, once per finished job; with a null env when the environment has gone down meanwhile. The
// channel may then be gone as well.
void settle_job(napi_env env, napi_value, void* context, void* data) noexcept {
  const std::unique_ptr<PromiseJob> job(static_cast<PromiseJob*>(data));
  if (env == nullptr) return;
  Channel& channel = *static_cast<Channel*>(context);
  if (--channel.pending == 0) napi_unref_threadsafe_function(env, channel.function);
  job->settle(env);
}

// worker.terminate() and the end of a process come here: the thread must be gone before its environment is. Runs
// before the clean-up of the thread-safe function, which was registered earlier.
void clean_up(void* data) noexcept {
  Channel& channel = *static_cast<Channel*>(data);
  channel.cleaned_up = true;
  channel.queue.abandon();
  channel.queue.join();
}

// The thread has let go of the thread-safe function, so it is ending: this join does not wait.
void finalize_channel(napi_env env, void* data, void*) noexcept {
  const std::unique_ptr<std::shared_ptr<Channel>> channel(static_cast<std::shared_ptr<Channel>*>(data));
  if (!(*channel)->cleaned_up) napi_remove_env_cleanup_hook(env, clean_up, channel->get());
  (*channel)->queue.join();
}

} // namespace

void ContextHandle::start(Napi::Env env) {
  auto channel = std::make_shared<Channel>(threads);
  auto owned = std::make_unique<std::shared_ptr<Channel>>(channel);
  if (napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "node-vae"), 0, 1, owned.get(),
                                      finalize_channel, channel.get(), settle_job, &channel->function) != napi_ok)
    throw Failure{"native", "no thread-safe function could be made"};
  owned.release();
  const napi_threadsafe_function function = channel->function;
  napi_unref_threadsafe_function(env, function);
  try {
    if (napi_add_env_cleanup_hook(env, clean_up, channel.get()) != napi_ok)
      throw Failure{"native", "the end of the environment could not be waited for"};
    channel->queue.start(
        [function](std::unique_ptr<Job> job) {
          if (napi_call_threadsafe_function(function, job.get(), napi_tsfn_nonblocking) == napi_ok) job.release();
        },
        [function] { napi_release_threadsafe_function(function, napi_tsfn_release); });
  } catch (const std::system_error& error) {
    napi_release_threadsafe_function(function, napi_tsfn_release);
    throw Failure{"native", std::string("no thread could be started: ") + error.what()};
  } catch (...) {
    napi_release_threadsafe_function(function, napi_tsfn_release);
    throw;
  }
  channel_ = std::move(channel);
}

Napi::Promise ContextHandle::enqueue(Napi::Env env, std::unique_ptr<PromiseJob> job) {
  if (closed_) throw Failure{"disposed", "the device is closed"};
  if (!channel_) start(env);
  if (channel_->cleaned_up) throw Failure{"disposed", "the environment is going down"};
  const Napi::Promise promise = job->promise(env);
  channel_->queue.push(std::move(job));
  if (channel_->pending++ == 0) napi_ref_threadsafe_function(env, channel_->function);
  return promise;
}

void ContextHandle::close() {
  closed_ = true;
  if (channel_) channel_->queue.close();
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

AlignedMemory SpareCopies::copy_of(const char* data, size_t bytes, const char* purpose) {
  AlignedMemory copy;
  if (bytes <= kBytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!kept_.empty()) {
      copy = std::move(kept_.back());
      kept_.pop_back();
    }
  }
  if (copy.data() == nullptr) copy = AlignedMemory(bytes > kBytes ? bytes : kBytes, purpose);
  std::memcpy(copy.data(), data, bytes);
  return copy;
}

void SpareCopies::give_back(AlignedMemory memory) {
  if (memory.bytes() != kBytes) return;
  std::lock_guard<std::mutex> lock(mutex_);
  if (kept_.size() < kMost) kept_.push_back(std::move(memory));
}

} // namespace nodevae
