#include "memory.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace nodevae::cuda {

DeviceMemory::DeviceMemory(std::shared_ptr<Context> context, size_t bytes, const std::string& purpose)
    : context_(std::move(context)), bytes_(bytes), address_(context_->allocate(bytes, purpose)) {
  const Context::Current current(*context_);
  const Driver& driver = context_->driver();
  const CUresult cleared = bytes == 0 ? CUDA_SUCCESS : driver.cuMemsetD8Async(address_, 0, bytes, context_->stream());
  if (cleared == CUDA_SUCCESS) return;
  driver.cuMemFree(address_);
  driver.check(cleared, "cuMemsetD8Async");
}

DeviceMemory::~DeviceMemory() {
  context_->let_go([&driver = context_->driver(), address = address_] { driver.cuMemFree(address); });
}

void DeviceMemory::write(size_t offset, const char* from, size_t bytes) {
  const Context::Current current(*context_);
  context_->staging().upload(address_ + offset, from, bytes);
}

void DeviceMemory::read(size_t offset, char* to, size_t bytes) const {
  const Context::Current current(*context_);
  context_->staging().download(to, address_ + offset, bytes);
}

void DeviceMemory::copy_from(const Memory& other) {
  const Context::Current current(*context_);
  const CUdeviceptr from = static_cast<const DeviceMemory&>(other).address_;
  if (bytes_ > 0) NODE_VAE_CUDA_CALL(context_->driver(), cuMemcpyDtoDAsync, address_, from, bytes_, context_->stream());
}

PinnedMemory::PinnedMemory(Context& context, size_t bytes) : context_(context) {
  const Context::Current current(context);
  void* data = nullptr;
  const CUresult result = context.driver().cuMemHostAlloc(&data, bytes, 0);
  if (result == CUDA_ERROR_OUT_OF_MEMORY)
    throw OutOfMemory("out of memory: " + gibibytes(bytes) + " of pinned memory of the host for transfers");
  context.driver().check(result, "cuMemHostAlloc");
  data_ = static_cast<char*>(data);
}

PinnedMemory::~PinnedMemory() {
  context_.let_go([&driver = context_.driver(), data = data_] { driver.cuMemFreeHost(data); });
}

Event::Event(Context& context) : context_(context) {
  const Context::Current current(context);
  NODE_VAE_CUDA_CALL(context.driver(), cuEventCreate, &event_, CU_EVENT_BLOCKING_SYNC);
}

Event::~Event() {
  context_.let_go([&driver = context_.driver(), event = event_] { driver.cuEventDestroy(event); });
}

void Event::record() { NODE_VAE_CUDA_CALL(context_.driver(), cuEventRecord, event_, context_.stream()); }

void Event::wait() const {
  constexpr std::chrono::microseconds kPolling{50}; // being woken takes about as long
  const auto until = std::chrono::steady_clock::now() + kPolling;
  do {
    const CUresult result = context_.driver().cuEventQuery(event_);
    if (result == CUDA_SUCCESS) return;
    if (result != CUDA_ERROR_NOT_READY) context_.driver().check(result, "cuEventQuery");
  } while (std::chrono::steady_clock::now() < until);
  NODE_VAE_CUDA_CALL(context_.driver(), cuEventSynchronize, event_);
}

double Event::nanoseconds_since(const Event& earlier) const {
  float milliseconds = 0;
  NODE_VAE_CUDA_CALL(context_.driver(), cuEventElapsedTime, &milliseconds, earlier.event_, event_);
  return static_cast<double>(milliseconds) * 1e6;
}

Staging::Staging(Context& context)
    : context_(context), memory_(context, kPieceBytes * kPieces), moved_{Event(context), Event(context)} {}

void Staging::upload(CUdeviceptr to, const char* from, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kPieceBytes, ++next_) {
    const size_t length = std::min(kPieceBytes, bytes - at);
    moved(next_).wait(); // an event never recorded counts as reached
    std::memcpy(piece(next_), from + at, length);
    NODE_VAE_CUDA_CALL(context_.driver(), cuMemcpyHtoDAsync, to + at, piece(next_), length, context_.stream());
    moved(next_).record();
  }
}

void Staging::download(char* to, CUdeviceptr from, size_t bytes) {
  const size_t pieces = (bytes + kPieceBytes - 1) / kPieceBytes, first = next_;
  const auto length = [&](size_t i) { return std::min(kPieceBytes, bytes - i * kPieceBytes); };
  for (size_t i = 0; i < pieces + kPieces - 1; ++i) {
    if (i < pieces) {
      moved(first + i).wait();
      NODE_VAE_CUDA_CALL(context_.driver(), cuMemcpyDtoHAsync, piece(first + i), from + i * kPieceBytes, length(i),
                         context_.stream());
      moved(first + i).record();
    }
    if (i + 1 < kPieces) continue;
    const size_t done = i + 1 - kPieces; // its transfer began before that of the piece just asked for
    moved(first + done).wait();
    std::memcpy(to + done * kPieceBytes, piece(first + done), length(done));
  }
  next_ = first + pieces;
}

} // namespace nodevae::cuda
