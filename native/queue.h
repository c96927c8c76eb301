// A device's queue: one thread of its own (never libuv's) that runs jobs in the order they came, with a pool of
// workers for the kernels. Started at the first job. Knows neither N-API nor what the jobs are.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "pool.h"

namespace nodevae {

class Job {
public:
  virtual ~Job() = default;
  // On the queue's thread; must not throw. `abandon` is set when the process (or worker) goes down.
  virtual void execute(Pool& pool, const std::atomic<bool>& abandon) noexcept = 0;
};

class Queue {
public:
  explicit Queue(int threads) : threads_(threads) {}
  ~Queue() { join(); }

  // `finished` is called on the queue's thread with each job done, `ended` as the last thing the thread does.
  // Throws std::system_error when there is no thread to be had.
  void start(std::function<void(std::unique_ptr<Job>)> finished, std::function<void()> ended);
  void push(std::unique_ptr<Job> job);
  // No more jobs will come: the thread ends behind the last one. Does not wait.
  void close();
  // Ends as soon as the kernel in progress allows; jobs not begun are dropped. Does not wait.
  void abandon();
  void join();

private:
  void work();

  const int threads_;
  std::thread thread_;
  std::function<void(std::unique_ptr<Job>)> finished_;
  std::function<void()> ended_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Job>> jobs_; // guarded by mutex_
  bool closed_ = false;                   // guarded by mutex_
  std::atomic<bool> abandon_{false};
};

} // namespace nodevae
