#include "emulated_cuda/stream.h"

#include <spdlog/fmt/fmt.h>

#include <exception>
#include <set>
#include <utility>

#include "emulated_cuda/memory.h"
#include "emulated_cuda/settings.h"
#include "kernels/kernel_name.h"

namespace espalier::emulated_cuda {

namespace {

cudaError_t fault = cudaSuccess;
thread_local cudaError_t last_error = cudaSuccess;
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

std::set<Stream*>& streams() {
  static auto* all = new std::set<Stream*>;  // never destroyed: what is released last comes to it
  return *all;
}

/// A number that looks drawn, of these.
uint64_t mixed(uint64_t a, uint64_t b) {
  uint64_t h = a * 0x9e3779b97f4a7c15u ^ (b + 0x7f4a7c15u) * 0xbf58476d1ce4e5b9u;
  h = (h ^ h >> 29) * 0x94d049bb133111ebu;
  return h ^ h >> 32;
}

}  // namespace

std::recursive_mutex& mutex() {
  static auto* one = new std::recursive_mutex;
  return *one;
}

int& current_card() {
  thread_local int card = 0;
  return card;
}

cudaError_t said(cudaError_t error) {
  if (fault != cudaSuccess) error = fault;
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t take_last_error() {
  return fault != cudaSuccess ? fault : std::exchange(last_error, cudaSuccess);
}

void work_off(Stream& s, uint64_t until) {
  if (s.done >= until) return;
  CardWorks working;
  while (s.done < until) {
    const Work work = std::move(s.queue.front());
    s.queue.pop_front();
    ++s.done;
    if (fault != cudaSuccess) continue;
    working.on(work.name);
    try {
      work.run();
    } catch (const std::exception& e) {
      fmt::print(stderr, "emulated CUDA: {}: {}\n", kernels::kernel_name(work.name), e.what());
      fault = cudaErrorLaunchFailure;
    }
  }
}

cudaError_t queue(Stream& s, const char* name, std::function<void()> run) {
  if (s.card != current_card()) return said(cudaErrorInvalidResourceHandle);
  if (s.captured) {
    s.captured->works.push_back({name, std::move(run)});
    return said(cudaSuccess);
  }
  s.queue.push_back({name, std::move(run)});
  ++s.queued;
  const bool at_once =
      settings().order == Order::kEarly || (settings().order == Order::kCrossed && !s.is_first);
  if (at_once) work_off(s, s.queued);
  return said(cudaSuccess);
}

cudaError_t refused_in(Stream& capturing) {
  capturing.invalidated = true;
  return said(cudaErrorStreamCaptureUnsupported);
}

Stream* forbidding() {
  if (thread_mode == cudaStreamCaptureModeRelaxed) return nullptr;
  for (Stream* s : streams())
    if (s->captured && s->mode != cudaStreamCaptureModeRelaxed &&
        (s->mode == cudaStreamCaptureModeGlobal || s->capturing_thread == std::this_thread::get_id()))
      return s;
  return nullptr;
}

void wait_for_all() {
  for (Stream* s : streams()) work_off(*s, s->queued);
}

}  // namespace espalier::emulated_cuda

using namespace espalier::emulated_cuda;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(mutex());
  *stream = *streams().insert(new Stream{.card = current_card(), .is_first = streams().empty()}).first;
  return said(cudaSuccess);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(mutex());
  if (stream->captured) return refused_in(*stream);
  work_off(*stream, stream->queued);
  return said(cudaSuccess);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(mutex());
  if (stream->captured) return refused_in(*stream);  // it could be, but nothing here wants it
  Stream* other = event->stream;
  if (!other || other == stream) return said(cudaSuccess);
  return queue(*stream, "a wait for another stream",
               [other, until = event->recorded] { work_off(*other, until); });
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock(mutex());
  if (stream->captured) return said(cudaErrorStreamCaptureUnsupported);
  stream->captured = std::make_unique<Graph>();
  stream->mode = mode;
  stream->capturing_thread = std::this_thread::get_id();
  stream->invalidated = false;
  return said(cudaSuccess);
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(mutex());
  *graph = nullptr;
  if (!stream->captured) return said(cudaErrorInvalidValue);
  const std::unique_ptr<Graph> captured = std::move(stream->captured);
  if (stream->invalidated) return said(cudaErrorStreamCaptureInvalidated);
  *graph = new Graph(*captured);
  return said(cudaSuccess);
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Lock lock(mutex());
  *status = !stream->captured     ? cudaStreamCaptureStatusNone
            : stream->invalidated ? cudaStreamCaptureStatusInvalidated
                                  : cudaStreamCaptureStatusActive;
  return said(cudaSuccess);
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return said(cudaSuccess);
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new Event{.card = current_card(), .times = flags != cudaEventDisableTiming};
  return said(cudaSuccess);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return said(cudaSuccess);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(mutex());
  if (stream->captured) return refused_in(*stream);  // it could be, but nothing here wants it
  if (event->card != stream->card || stream->card != current_card())
    return said(cudaErrorInvalidResourceHandle);
  event->stream = stream;
  event->recorded = stream->queued;
  return said(cudaSuccess);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(mutex());
  if (Stream* s = forbidding()) return refused_in(*s);
  if (event->stream) work_off(*event->stream, event->recorded);
  return said(cudaSuccess);
}
/// Any candidate may be the fastest: times are drawn, between one and two milliseconds.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const Lock lock(mutex());
  if (!begin->stream || !end->stream || !begin->times || !end->times)
    return said(cudaErrorInvalidResourceHandle);
  if (end->recorded > end->stream->done) return said(cudaErrorNotReady);
  *milliseconds = 1 + static_cast<float>(mixed(settings().seed, begin->recorded) % 1024) / 1024;
  return said(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new ExecutableGraph{std::make_shared<const Graph>(*graph)};
  return said(cudaSuccess);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const Lock lock(mutex());
  for (size_t i = 0; i < executable->graph->works.size(); ++i)
    if (queue(*stream, executable->graph->works[i].name,
              [graph = executable->graph, i] { graph->works[i].run(); }) != cudaSuccess)
      return said(cudaErrorInvalidResourceHandle);
  return said(cudaSuccess);
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return said(cudaSuccess);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return said(cudaSuccess);
}
