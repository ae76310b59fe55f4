#include "kernels/gpu_obstacle.h"

#include "base/error.h"

namespace espalier::kernels {

namespace {
constexpr int kOldest = 8;  ///< they copy asynchronously and multiply TF32

std::string version(int number) { return str(number / 1000, ".", number % 1000 / 10); }
}  // namespace

bool cuda_is_built() {
#ifdef ESPALIER_HAS_CUDA
  return true;
#else
  return false;
#endif
}

std::string obstacle(const GpuFacts& f) {
  if (!f.built)
    return "this program was built without CUDA; use device cpu, or build with -DESPALIER_CUDA=ON";
  if (f.driver == 0) return "there is no NVIDIA driver on this machine; install one, or use device cpu";
  if (f.driver / 1000 < f.runtime / 1000)
    return str("the NVIDIA driver is too old: it knows CUDA ", version(f.driver),
               ", this program was built with CUDA ", version(f.runtime),
               "; update the driver, or use device cpu");
  if (f.count == 0 && f.error.empty())
    return "no GPU answers; see what nvidia-smi and CUDA_VISIBLE_DEVICES say, or use device cpu";
  if (f.count > 0 && f.number >= f.count)
    return str("there is no GPU ", f.number, ": ", f.count, f.count == 1 ? " answers" : " answer",
               ", counted from 0 and after CUDA_VISIBLE_DEVICES; name another one");
  if (!f.error.empty()) return str("no GPU can be used (", f.error, "); mend that, or use device cpu");
  if (f.major < kOldest)
    return str("GPU ", f.number, " (", f.name, ") has architecture ", f.major, f.minor, ", the kernels need ",
               kOldest, "0 or newer; use another GPU, or device cpu");
  if (!f.runs_our_code)
    return str("GPU ", f.number, " (", f.name, ") has architecture ", f.major, f.minor,
               ", this program was built for ", f.architectures,
               "; build with -DESPALIER_CUDA_ARCHITECTURES=", f.major, f.minor, ", or use device cpu");
  return "";
}

}  // namespace espalier::kernels
