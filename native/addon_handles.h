// What the opaque handles of the addon own. All of it is touched on the JavaScript thread only; jobs on the queue
// hold the residents and sessions that they use, so a handle may be released while they run.
#pragma once

#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "addon_values.h"
#include "device.h"
#include "queue.h"
#include "session.h"

namespace nodevae {

// A job that settles a promise when it is done.
class PromiseJob : public Job {
public:
  void execute(Pool& pool, const std::atomic<bool>& abandon) noexcept override;
  // The promise, made here. A job for which it was made must come to settle(), or Node keeps the promise for ever.
  Napi::Promise promise(Napi::Env env);
  void settle(Napi::Env env) noexcept; // on the JavaScript thread

protected:
  virtual void work(Pool& pool, const std::atomic<bool>& abandon) = 0;
  virtual Napi::Value result(Napi::Env env) = 0;

private:
  napi_deferred deferred_ = nullptr;
  std::exception_ptr problem_;
};

// The way from a queue's thread back to its JavaScript thread; kept alive by the thread-safe function.
struct Channel {
  explicit Channel(int threads) : queue(threads) {}
  Queue queue;
  napi_threadsafe_function function = nullptr;
  size_t pending = 0;      // jobs whose promise is open; the event loop stays alive while there are any
  bool cleaned_up = false; // the environment has gone down and the thread is joined
};

class ContextHandle {
public:
  static constexpr napi_type_tag kTag = {0x6e6f64652d766165, 0x636f6e7465787401};
  static constexpr const char* kName = "context";

  ContextHandle(int threads, std::shared_ptr<Device> device) : threads(threads), device(std::move(device)) {}
  ~ContextHandle() { close(); }

  // Ends the queue behind the jobs already there. Does not wait.
  void close();
  bool closed() const { return closed_; }
  // Queues a job, which starts the thread if need be. Returns the promise.
  Napi::Promise enqueue(Napi::Env env, std::unique_ptr<PromiseJob> job);

  // Runs in progress or queued can be stopped, those of one session or all.
  void add_run(const Session* session, const std::shared_ptr<RunControl>& control);
  void stop_runs(const Session* session = nullptr);

  const int threads;
  const std::shared_ptr<Device> device;

private:
  struct Run {
    const Session* session;
    std::weak_ptr<RunControl> control;
  };
  void start(Napi::Env env);
  bool closed_ = false;
  std::shared_ptr<Channel> channel_;
  std::vector<Run> runs_;
};

// Tells V8 of memory it does not see, so that it collects dropped handles in time.
class ExternalMemory {
public:
  ExternalMemory(Napi::Env env, size_t bytes) : env_(env), bytes_(static_cast<int64_t>(bytes)) { adjust(bytes_); }
  ~ExternalMemory() { adjust(-bytes_); }
  ExternalMemory(const ExternalMemory&) = delete;
  ExternalMemory& operator=(const ExternalMemory&) = delete;

private:
  void adjust(int64_t bytes) const {
    int64_t total = 0;
    napi_adjust_external_memory(env_, bytes, &total);
  }
  const napi_env env_;
  const int64_t bytes_;
};

// Host memory that copies of what is written were made in, kept for the next ones: the page faults of fresh memory take
// many times as long as the copying. Copies are made on the JavaScript thread and given back on the queue's.
class SpareCopies {
public:
  static constexpr size_t kLeast = size_t{128} << 10; // smaller ones the C library keeps by itself
  static constexpr size_t kBytes = size_t{4} << 20;   // of each; larger ones are not kept
  static constexpr size_t kMost = 8;

  AlignedMemory copy_of(const char* data, size_t bytes, const char* purpose);
  void give_back(AlignedMemory memory);

private:
  std::mutex mutex_;
  std::vector<AlignedMemory> kept_; // guarded by mutex_
};

struct BufferHandle {
  static constexpr napi_type_tag kTag = {0x6e6f64652d766165, 0x6275666665720001};
  static constexpr const char* kName = "buffer";

  const std::shared_ptr<ContextHandle> context;
  std::shared_ptr<Resident> resident; // empty once released
  std::unique_ptr<ExternalMemory> external;
  std::shared_ptr<SpareCopies> spare{}; // where parts of it are written again and again
};

struct SessionHandle {
  static constexpr napi_type_tag kTag = {0x6e6f64652d766165, 0x73657373696f6e01};
  static constexpr const char* kName = "session";

  const std::shared_ptr<ContextHandle> context;
  std::shared_ptr<Session> session; // empty once disposed
  std::unique_ptr<ExternalMemory> external;
};

} // namespace nodevae
