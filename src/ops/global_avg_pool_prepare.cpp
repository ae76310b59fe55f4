#include "ops/global_avg_pool_prepare.h"

#include "kernels/global_avg_pool_prepared.h"
#include "kernels/reference_only.h"

namespace espalier {

namespace {

struct PreparedGlobalAvgPool final : CooperativePrepared {
  int images, channels;
  int64_t pixels;
  const float* x;
  float* y;

  using CooperativePrepared::run;
  void run(const kernels::Team& team) override {
    kernels::global_avg_pool_prepared(images, pixels, channels, x, y, team);
  }
};

}  // namespace

std::unique_ptr<Prepared> prepare_global_avg_pool(const PrepareCtx& ctx) {
  if (ctx.out[0].device() != Device::kCpu || kernels::reference_only()) return nullptr;
  const Shape& x = ctx.in[0].shape();
  auto prepared = std::make_unique<PreparedGlobalAvgPool>();
  prepared->images = x[0];
  prepared->pixels = int64_t{x[1]} * x[2];
  prepared->channels = x[3];
  prepared->x = ctx.in[0].f32();
  prepared->y = ctx.out[0].f32();
  return prepared;
}

}  // namespace espalier
