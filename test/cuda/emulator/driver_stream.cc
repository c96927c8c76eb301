// Streams, events, capture.
#include "driver.h"

namespace emulator {

CUstream checked_stream(CUstream stream) {
  if (!stream || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD) return nullptr;
  return checked(stream, "stream");
}

void not_while_capturing(const char* what) {
  if (Driver::instance().capturing_globally())
    refuse(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, std::string(what) + " while a stream is being captured");
}

void submit(CUstream stream, CUgraphNodeType type, std::function<void()> run) {
  Driver& driver = Driver::instance();
  if (stream && stream->capture) {
    auto node = std::make_shared<CUgraphNode_st>();
    node->type = type;
    node->run = std::move(run);
    // Streams join a capture through events; their order is that of the calls.
    if (!stream->capture->nodes.empty()) node->dependencies = {stream->capture->nodes.back().get()};
    driver.live.insert(node.get());
    stream->capture->nodes.push_back(node);
    return;
  }
  // The default stream waits for the others, which one that is captured cannot be waited for.
  if (!stream && driver.capturing_globally())
    refuse(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "use of the default stream while another one is being captured");
  try {
    run();
  } catch (const Failure& failure) { // as on a device: the calls that follow report it
    driver.sticky = failure.result;
    driver.last_error = failure.what();
    std::fprintf(stderr, "cuda emulator: %s\n", failure.what());
  }
}

} // namespace emulator

using namespace emulator;

extern "C" {

CUresult CUDAAPI cuStreamCreate(CUstream* stream, unsigned int flags) {
  return enter(Needs::context, "cuStreamCreate", [=] {
    require(stream, "stream");
    if (flags & ~unsigned{CU_STREAM_NON_BLOCKING}) refuse(CUDA_ERROR_INVALID_VALUE, "unknown flags");
    *stream = new CUstream_st;
    Driver::instance().live.insert(*stream);
    Driver::instance().streams.insert(*stream);
  });
}

CUresult CUDAAPI cuStreamDestroy(CUstream stream) {
  return enter(Needs::initialized, "cuStreamDestroy", [=] {
    Driver::instance().live.erase(checked(stream, "stream"));
    Driver::instance().streams.erase(stream);
    delete stream;
  });
}

CUresult CUDAAPI cuStreamSynchronize(CUstream stream) {
  return enter(Needs::context, "cuStreamSynchronize", [=] {
    CUstream known = checked_stream(stream);
    if (known && known->capture) refuse(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the stream is being captured");
    if (!known) not_while_capturing("cuStreamSynchronize of the default stream");
  });
}

CUresult CUDAAPI cuStreamQuery(CUstream stream) {
  return enter(Needs::context, "cuStreamQuery", [=] {
    CUstream known = checked_stream(stream);
    if (known && known->capture) refuse(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the stream is being captured");
  });
}

CUresult CUDAAPI cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
  return enter(Needs::context, "cuStreamBeginCapture", [=] {
    CUstream known = checked_stream(stream);
    if (!known) refuse(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the default stream cannot be captured");
    if (known->capture) refuse(CUDA_ERROR_ILLEGAL_STATE, "the stream is being captured already");
    known->capture = new CUgraph_st;
    known->origin = true;
    known->global_mode = mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    Driver::instance().live.insert(known->capture);
  });
}

CUresult CUDAAPI cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  return enter(Needs::context, "cuStreamEndCapture", [=] {
    CUstream known = checked_stream(stream);
    require(graph, "graph");
    if (!known || !known->capture) refuse(CUDA_ERROR_ILLEGAL_STATE, "the stream is not being captured");
    if (!known->origin) refuse(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "the capture began in another stream");
    *graph = known->capture;
    for (CUstream other : Driver::instance().streams)
      if (other->capture == *graph) other->capture = nullptr, other->origin = other->global_mode = false;
  });
}

CUresult CUDAAPI cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
  return enter(Needs::context, "cuStreamIsCapturing", [=] {
    require(status, "status");
    CUstream known = checked_stream(stream);
    *status = known && known->capture ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
  });
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int) {
  return enter(Needs::context, "cuStreamWaitEvent", [=] {
    CUstream known = checked_stream(stream);
    checked(event, "event");
    if (known && event->capture && !known->capture) known->capture = event->capture; // the stream joins the capture
  });
}

CUresult CUDAAPI cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
  return enter(Needs::context, "cuLaunchHostFunc", [=] {
    if (!function) refuse(CUDA_ERROR_INVALID_VALUE, "the function is null");
    submit(checked_stream(stream), CU_GRAPH_NODE_TYPE_HOST, [=] { function(data); });
  });
}

CUresult CUDAAPI cuEventCreate(CUevent* event, unsigned int flags) {
  return enter(Needs::context, "cuEventCreate", [=] {
    require(event, "event");
    *event = new CUevent_st;
    (*event)->timing = !(flags & CU_EVENT_DISABLE_TIMING);
    Driver::instance().live.insert(*event);
  });
}

CUresult CUDAAPI cuEventDestroy(CUevent event) {
  return enter(Needs::initialized, "cuEventDestroy", [=] {
    Driver::instance().live.erase(checked(event, "event"));
    delete event;
  });
}

CUresult CUDAAPI cuEventRecord(CUevent event, CUstream stream) {
  return enter(Needs::context, "cuEventRecord", [=] {
    checked(event, "event");
    CUstream known = checked_stream(stream);
    event->capture = known ? known->capture : nullptr;
    event->recorded = true;
    event->time = std::chrono::steady_clock::now();
  });
}

CUresult CUDAAPI cuEventSynchronize(CUevent event) {
  return enter(Needs::context, "cuEventSynchronize", [=] {
    if (checked(event, "event")->capture) refuse(CUDA_ERROR_CAPTURED_EVENT, "the event was recorded in a capture");
  });
}

CUresult CUDAAPI cuEventQuery(CUevent event) {
  return enter(Needs::context, "cuEventQuery", [=] {
    if (checked(event, "event")->capture) refuse(CUDA_ERROR_CAPTURED_EVENT, "the event was recorded in a capture");
  });
}

CUresult CUDAAPI cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end) {
  return enter(Needs::context, "cuEventElapsedTime", [=] {
    require(milliseconds, "milliseconds");
    for (CUevent event : {begin, end})
      if (!checked(event, "event")->timing || !event->recorded)
        refuse(CUDA_ERROR_INVALID_HANDLE, "the event has no time");
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  });
}

} // extern "C"
