// The primary context of a device with one stream, on which everything that a queue does happens in order.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "../memory.h"
#include "driver.h"
#include "lowering.h"

namespace nodevae::cuda {

class Staging;

class Context {
public:
  // Throws Unusable.
  explicit Context(int number);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // The context, current on this thread while alive.
  class Current {
  public:
    explicit Current(const Context& context);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

  private:
    const Driver& driver_;
  };

  // While somebody is busy, what is let go of is kept until they are done.
  class Busy {
  public:
    explicit Busy(Context& context);
    ~Busy();
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

  private:
    Context& context_;
  };

  const Driver& driver() const { return driver_; }
  CUstream stream() const { return stream_; }
  const Target& target() const { return target_; }  // in float32
  const std::string& name() const { return name_; } // "cuda:0 (NVIDIA ...)"

  // `purpose` is for the message of OutOfMemory. The content is undefined.
  CUdeviceptr allocate(size_t bytes, const std::string& purpose);
  // Gives something back to the driver, with the context current: at once, or when nobody is busy any more. Giving
  // memory back waits for the device, and whoever lets go of it (JavaScript's thread) must not.
  void let_go(std::function<void()> give_back) noexcept;
  size_t free_bytes() const; // of the device's memory
  void synchronize() const;  // waits for the stream; throws DriverError for what failed on it
  Staging& staging();        // made when it is first used, on the queue's thread

private:
  void give_back_all() noexcept;
  std::string out_of_memory(size_t bytes, const std::string& purpose) const;

  const Driver& driver_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  Target target_;
  std::string name_;
  std::mutex mutex_;
  int busy_ = 0;                              // guarded by mutex_
  std::vector<std::function<void()>> let_go_; // guarded by mutex_
  std::unique_ptr<Staging> staging_;
};

// A usable device, described. Throws Unusable.
struct DeviceDescription {
  std::string name;
  int capability;
  size_t bytes;
};
DeviceDescription describe(const Driver& driver, int number);
std::string gibibytes(size_t bytes);

} // namespace nodevae::cuda
