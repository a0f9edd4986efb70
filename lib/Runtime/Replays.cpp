//===- Replays.cpp - launches that a driver has seen before ---------------===//
#include "Replays.h"
#include "fla/Support/Knobs.h"

#include "llvm/ADT/STLExtras.h"

namespace fla::runtime {

/// A recording takes as long as some ten launches: what runs once or twice gets none.
static constexpr int64_t kRunsBefore = 2;
/// Recordings hold memory of the device. A process with more streams launches on the others.
static constexpr size_t kMostStreams = 16;

Replays::~Replays() {
  for (auto &[stream, mine] : streams)
    if (mine.recording)
      driver.forget(context, mine.recording);
}

/// Whether the launches were started.
bool Replays::replay(llvm::ArrayRef<DeviceLaunch> launches, void *stream) {
  if (launches.empty() || !driver.replays(stream))
    return false;
  std::lock_guard lock(mutex);
  auto known = streams.find(stream);
  if (known == streams.end() && streams.size() >= kMostStreams)
    return false;
  OnStream &mine = streams[stream];
  auto functions = llvm::map_range(launches, [](const DeviceLaunch &launch) { return launch.function; });
  if (mine.runs++ == kRunsBefore && knobs::replayLaunches() && (mine.recording = driver.record(launches)))
    mine.functions.assign(functions.begin(), functions.end());
  // An empty grid leaves a kernel out.
  if (!mine.recording || !llvm::equal(functions, mine.functions))
    return false;
  if (driver.replay(mine.recording, launches, stream))
    return true;
  driver.forget(context, mine.recording);
  mine.recording = nullptr;
  return false;
}

llvm::Error Replays::start(llvm::ArrayRef<DeviceLaunch> launches, void *stream) {
  if (replay(launches, stream))
    return llvm::Error::success();
  for (const DeviceLaunch &launch : launches)
    if (llvm::Error error = driver.launch(launch, stream))
      return error;
  return llvm::Error::success();
}

} // namespace fla::runtime
