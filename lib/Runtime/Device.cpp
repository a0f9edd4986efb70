//===- Device.cpp - GPU drivers, opened at run time -----------------------===//
#include "fla/Runtime/Device.h"
#include "DeviceLibrary.h"
#include "fla/Support/Knobs.h"

#include <map>
#include <mutex>

namespace fla::runtime {

llvm::Expected<DeviceDriver *> DeviceDriver::get(llvm::StringRef vendor) {
  static std::mutex mutex;
  // Never destroyed: programs may outlive static objects at the process's end.
  static auto &drivers = *new std::map<std::string, std::unique_ptr<DeviceDriver>>();
  bool isCuda = vendor == "cuda";
  if (!isCuda && vendor != "hip")
    return deviceError("expected a program for 'cuda' or 'hip', got one for '" + vendor + "'");
  std::lock_guard lock(mutex);
  // A failure is not remembered: a driver may be installed meanwhile.
  std::unique_ptr<DeviceDriver> &driver = drivers[(vendor + ":" + (isCuda ? knobs::cudaDriver() : knobs::hipDriver())).str()];
  if (!driver) {
    auto opened = isCuda ? openCudaDriver() : openHipDriver();
    if (!opened)
      return opened.takeError();
    driver = std::move(*opened);
  }
  return driver.get();
}

} // namespace fla::runtime
