#include "queue.h"

#include <utility>

namespace nodevae {

void Queue::start(std::function<void(std::unique_ptr<Job>)> finished, std::function<void()> ended) {
  finished_ = std::move(finished);
  ended_ = std::move(ended);
  thread_ = std::thread([this] { work(); });
}

void Queue::push(std::unique_ptr<Job> job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void Queue::close() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  changed_.notify_one();
}

void Queue::abandon() {
  abandon_.store(true);
  close();
}

void Queue::join() {
  if (thread_.joinable()) thread_.join();
}

void Queue::work() {
  {
    Pool pool(threads_); // ends with this block: its workers do not outlive the queue's thread
    pool.abandon_when(&abandon_);
    for (;;) {
      std::unique_ptr<Job> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return closed_ || !jobs_.empty(); });
        if (abandon_.load() || jobs_.empty()) break;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job->execute(pool, abandon_);
      finished_(std::move(job));
    }
  }
  ended_();
}

} // namespace nodevae
