#include "kernels/quantized_prepared.h"

#include <algorithm>
#include <cstring>

#include "kernels/grid.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define ESPALIER_VNNI 1
#include <immintrin.h>
#endif

namespace espalier::kernels {

namespace {

constexpr int kLanes = 16;

int padded(int channels) { return (channels + kLanes - 1) / kLanes * kLanes; }

}  // namespace

PackedCodes::PackedCodes(const ConvShape& s, Code x_code, const int8_t* w, const int32_t* bias,
                         const float* multiplier)
    : blocks_(padded(s.K) / kLanes), gathers_(s.C % 4 != 0 && s.R * s.S > 1) {
  const int window = s.R * s.S * s.C;
  places_ = gathers_ ? 1 : s.R * s.S;
  const int per_place = window / places_;
  groups_ = (per_place + 3) / 4;
  codes_.resize(static_cast<size_t>(blocks_) * places_ * groups_ * 64);
  bias_.resize(static_cast<size_t>(blocks_) * kLanes);
  multiplier_.resize(bias_.size());
  zeros_.resize(static_cast<size_t>(groups_) * 4);
  for (int k = 0; k < s.K; ++k) {
    int32_t sum = 0;
    int8_t* block = codes_.data() + static_cast<size_t>(k / kLanes) * places_ * groups_ * 64;
    for (int place = 0; place < places_; ++place)
      for (int i = 0; i < per_place; ++i) {
        const int8_t code = w[static_cast<int64_t>(k) * window + place * per_place + i];
        block[(place * groups_ + i / 4) * 64 + k % kLanes * 4 + i % 4] = code;
        sum += code;
      }
    bias_[k] = (bias ? bias[k] : 0) - (x_code == Code::kS8 ? 128 * sum : 0);
    multiplier_[k] = multiplier[k];
  }
}

PaddedCodes::PaddedCodes(const ConvShape& s, const int8_t* w, const int32_t* bias, const float* multiplier)
    : channels_(padded(s.C)),
      codes_(static_cast<size_t>(s.R) * s.S * channels_),
      bias_(channels_),
      multiplier_(channels_) {
  for (int place = 0; place < s.R * s.S; ++place)
    for (int c = 0; c < s.C; ++c)
      codes_[static_cast<size_t>(place) * channels_ + c] =
          static_cast<uint16_t>(static_cast<int16_t>(w[place * s.C + c]));
  if (bias) std::copy_n(bias, s.C, bias_.begin());
  std::copy_n(multiplier, s.C, multiplier_.begin());
}

#ifdef ESPALIER_VNNI

bool has_quantized_prepared() { return true; }

namespace {

__mmask16 lanes(int n) { return static_cast<__mmask16>(n >= kLanes ? 0xFFFF : (1u << n) - 1); }

/// Sixteen codes as s32.
__m512i load_codes(const void* p, Code code, int64_t at, __mmask16 mask) {
  const __m128i bytes = _mm_maskz_loadu_epi8(mask, static_cast<const char*>(p) + at);
  return code == Code::kU8 ? _mm512_cvtepu8_epi32(bytes) : _mm512_cvtepi8_epi32(bytes);
}

/// The epilogue, with everything that stays the same for a call unpacked once.
struct Epilogue {
  __m512 slope, residual_factor, low, high;
  const void* residual;
  Code residual_code, y_code;
  bool leaky;
  void* y;

  Epilogue(const Requantize& r, Code y_code, void* y)
      : slope(_mm512_set1_ps(r.slope)),
        residual_factor(_mm512_set1_ps(r.residual_factor)),
        low(_mm512_set1_ps(static_cast<float>(r.low))),
        high(_mm512_set1_ps(static_cast<float>(r.high))),
        residual(r.residual),
        residual_code(r.residual_code),
        y_code(y_code),
        leaky(r.slope != 1),
        y(y) {}

  void store(__m512i sum, __m512 multiplier, int64_t at, __mmask16 mask) const {
    __m512 f = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), multiplier);
    if (leaky) f = _mm512_mask_mul_ps(f, _mm512_cmp_ps_mask(f, _mm512_setzero_ps(), _CMP_NGT_UQ), f, slope);
    if (residual)
      f = _mm512_fmadd_ps(_mm512_cvtepi32_ps(load_codes(residual, residual_code, at, mask)), residual_factor,
                          f);
    if (y_code == Code::kF32) {
      _mm512_mask_storeu_ps(static_cast<float*>(y) + at, mask, f);
      return;
    }
    const __m512i code = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(f, low), high));
    _mm_mask_storeu_epi8(static_cast<char*>(y) + at, mask, _mm512_cvtepi32_epi8(code));
  }
};

/// kRows pixels by kBlocks * 16 output channels in registers. pixels[place * kRows + row] points to the
/// inputs.
template <int kRows, int kBlocks, bool kSigned>
void tile(const PackedCodes& w, int block, const uint8_t* const* pixels, int rows, const int64_t* at, int K,
          const Epilogue& e) {
  __m512i sum[kRows][kBlocks];
  const int8_t* codes[kBlocks];
  for (int b = 0; b < kBlocks; ++b) {
    codes[b] = w.block(block + b);
    for (int r = 0; r < kRows; ++r) sum[r][b] = _mm512_loadu_si512(w.bias(block + b));
  }
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
  const int groups = w.groups();
  int64_t next = 0;
  for (int place = 0; place < w.places(); ++place)
    for (int g = 0; g < groups; ++g, next += 64) {
      __m512i filter[kBlocks];
      for (int b = 0; b < kBlocks; ++b) filter[b] = _mm512_loadu_si512(codes[b] + next);
      for (int r = 0; r < kRows; ++r) {
        int32_t four;
        std::memcpy(&four, pixels[place * kRows + r] + g * 4, 4);
        __m512i x = _mm512_set1_epi32(four);
        if constexpr (kSigned) x = _mm512_xor_si512(x, offset);
        for (int b = 0; b < kBlocks; ++b) sum[r][b] = _mm512_dpbusd_epi32(sum[r][b], x, filter[b]);
      }
    }
  for (int r = 0; r < rows; ++r)
    for (int b = 0; b < kBlocks; ++b)
      e.store(sum[r][b], _mm512_loadu_ps(w.multiplier(block + b)), at[r] + (block + b) * kLanes,
              lanes(K - (block + b) * kLanes));
}

constexpr int kTileRows = 6, kTileBlocks = 4;

template <int kRows, bool kSigned>
void run_tile(int blocks, const PackedCodes& w, int block, const uint8_t* const* pixels, int rows,
              const int64_t* at, int K, const Epilogue& e) {
  switch (blocks) {
    case 1:
      return tile<kRows, 1, kSigned>(w, block, pixels, rows, at, K, e);
    case 2:
      return tile<kRows, 2, kSigned>(w, block, pixels, rows, at, K, e);
    case 3:
      return tile<kRows, 3, kSigned>(w, block, pixels, rows, at, K, e);
    default:
      return tile<kRows, 4, kSigned>(w, block, pixels, rows, at, K, e);
  }
}

/// Where the inputs of up to kTileRows output pixels lie.
class Window {
 public:
  Window(const ConvShape& s, const PackedCodes& w, const uint8_t* x)
      : s_(s), w_(w), x_(x), pixels_(pointers()), gathered_(copies()), copies_(w.gathers() || s.C % 4 != 0) {
    // Grown once per thread, so that steady calls allocate nothing.
    const size_t places = static_cast<size_t>(w.places()) * kTileRows,
                 bytes = static_cast<size_t>(kTileRows) * w.groups() * 4;
    if (pixels_.size() < places) pixels_.resize(places);
    if (copies_ && gathered_.size() < bytes) gathered_.resize(bytes);
  }

  /// Points at the pixels of outputs first .. first + rows - 1; missing rows repeat the last one. `step` is
  /// the tile's rows.
  const uint8_t* const* look_at(int64_t first, int rows, int step) {
    for (int r = 0; r < step; ++r) point(first + std::min(r, rows - 1), r, step);
    return pixels_.data();
  }

 private:
  void point(int64_t output, int r, int step) {
    const int Q = s_.Q(), P = s_.P();
    const int q = static_cast<int>(output % Q), p = static_cast<int>(output / Q % P);
    const uint8_t* image = x_ + output / Q / P * s_.H * s_.W * s_.C;
    // A last group that is not full is read whole: from a copy, because x may end there.
    uint8_t* copy = copies_ ? gathered_.data() + static_cast<size_t>(r) * w_.groups() * 4 : nullptr;
    if (w_.gathers()) pixels_[r] = copy;
    for (int i = 0; i < s_.R; ++i)
      for (int t = 0; t < s_.S; ++t) {
        const int h = p * s_.stride - s_.pad.top + i, v = q * s_.stride - s_.pad.left + t,
                  place = i * s_.S + t;
        const bool inside = h >= 0 && h < s_.H && v >= 0 && v < s_.W;
        const uint8_t* pixel = inside ? image + (static_cast<int64_t>(h) * s_.W + v) * s_.C : w_.zeros();
        if (w_.gathers())
          std::memcpy(copy + place * s_.C, pixel, static_cast<size_t>(s_.C));
        else if (copy)
          pixels_[r] = static_cast<const uint8_t*>(std::memcpy(copy, pixel, static_cast<size_t>(s_.C)));
        else
          pixels_[place * step + r] = pixel;
      }
  }

  static std::vector<const uint8_t*>& pointers() {
    thread_local std::vector<const uint8_t*> v;
    return v;
  }
  static std::vector<uint8_t>& copies() {
    thread_local std::vector<uint8_t> v;
    return v;
  }

  const ConvShape& s_;
  const PackedCodes& w_;
  const uint8_t* x_;
  std::vector<const uint8_t*>& pixels_;
  std::vector<uint8_t>& gathered_;
  const bool copies_;
};

}  // namespace

void quantized_conv2d_prepared(const ConvShape& s, Code x_code, const PackedCodes& w, const Requantize& r,
                               Code y_code, const void* x, void* y, const Team& team) {
  const int64_t outputs = int64_t{s.N} * s.P() * s.Q();
  const int step = outputs == 1 ? 1 : kTileRows;
  const int rows = static_cast<int>((outputs + step - 1) / step),
            columns = (w.blocks() + kTileBlocks - 1) / kTileBlocks;
  const double length = static_cast<double>(w.places()) * w.groups();
  const Grid grid = choose_grid(team.threads, rows, columns, {length * 12 + 60, length * 2, length * 8});
  const Share down = grid.rows(team, rows), across = grid.columns(team, columns);
  const Epilogue e(r, y_code, y);
  Window window(s, w, static_cast<const uint8_t*>(x));
  int64_t at[kTileRows];
  for (int column = across.first; column < across.last; ++column) {
    const int block = column * kTileBlocks, blocks = std::min(kTileBlocks, w.blocks() - block);
    for (int row = down.first; row < down.last; ++row) {
      const int64_t first = int64_t{row} * step;
      const int count = static_cast<int>(std::min<int64_t>(step, outputs - first));
      const uint8_t* const* pixels = window.look_at(first, count, step);
      for (int i = 0; i < count; ++i) at[i] = (first + i) * s.K;
      if (step == 1)
        x_code == Code::kS8 ? run_tile<1, true>(blocks, w, block, pixels, count, at, s.K, e)
                            : run_tile<1, false>(blocks, w, block, pixels, count, at, s.K, e);
      else
        x_code == Code::kS8 ? run_tile<kTileRows, true>(blocks, w, block, pixels, count, at, s.K, e)
                            : run_tile<kTileRows, false>(blocks, w, block, pixels, count, at, s.K, e);
    }
  }
}

void quantized_depthwise_prepared(const ConvShape& s, Code x_code, const PaddedCodes& w, const Requantize& r,
                                  Code y_code, const void* x, void* y, const Team& team) {
  const int P = s.P(), Q = s.Q();
  const Share share(s.N * P, team.thread, team.threads);
  const Epilogue e(r, y_code, y);
  for (int row = share.first; row < share.last; ++row) {
    const int p = row % P, h0 = p * s.stride - s.pad.top;
    const int r0 = std::max(0, -h0), r1 = std::min(s.R, s.H - h0);
    const int64_t image = int64_t{row / P} * s.H * s.W * s.C;
    for (int c0 = 0; c0 < s.C; c0 += kLanes) {
      const __mmask16 mask = lanes(s.C - c0);
      const __m512i bias = _mm512_loadu_si512(w.bias() + c0);
      const __m512 multiplier = _mm512_loadu_ps(w.multiplier() + c0);
      const auto output = [&](int q, int t0, int t1) {
        __m512i sum = bias;
        const int v0 = q * s.stride - s.pad.left;
        for (int i = r0; i < r1; ++i) {
          const int64_t in = image + (int64_t{h0 + i} * s.W + v0) * s.C + c0;
          const int32_t* f = w.filter() + static_cast<int64_t>(i) * s.S * w.channels() + c0;
          for (int t = t0; t < t1; ++t)
            sum = _mm512_dpwssd_epi32(sum, load_codes(x, x_code, in + int64_t{t} * s.C, mask),
                                      _mm512_loadu_si512(f + t * w.channels()));
        }
        e.store(sum, multiplier, (int64_t{row} * Q + q) * s.C + c0, mask);
      };
      if (s.R == 3 && s.S == 3 && r0 == 0 && r1 == 3) {
        __m512i f[9];
        for (int i = 0; i < 9; ++i) f[i] = _mm512_loadu_si512(w.filter() + i * w.channels() + c0);
        for (int q = 0; q < Q; ++q) {
          const int v0 = q * s.stride - s.pad.left;
          if (v0 < 0 || v0 + 3 > s.W) {
            output(q, std::max(0, -v0), std::min(3, s.W - v0));
            continue;
          }
          const int64_t in = image + (int64_t{h0} * s.W + v0) * s.C + c0, down = int64_t{s.W} * s.C;
          __m512i sum = bias;
          for (int i = 0; i < 3; ++i)
            for (int t = 0; t < 3; ++t)
              sum = _mm512_dpwssd_epi32(sum, load_codes(x, x_code, in + i * down + t * s.C, mask),
                                        f[i * 3 + t]);
          e.store(sum, multiplier, (int64_t{row} * Q + q) * s.C + c0, mask);
        }
      } else {
        for (int q = 0; q < Q; ++q) {
          const int v0 = q * s.stride - s.pad.left;
          output(q, std::max(0, -v0), std::min(s.S, s.W - v0));
        }
      }
    }
  }
}

void quantize_prepared(int64_t n, const float* x, float inverse_scale, int low, int high, Code, void* y,
                       const Team& team) {
  const int64_t blocks = (n + kLanes - 1) / kLanes, first = blocks * team.thread / team.threads,
                last = blocks * (team.thread + 1) / team.threads;
  const __m512 factor = _mm512_set1_ps(inverse_scale), least = _mm512_set1_ps(static_cast<float>(low)),
               most = _mm512_set1_ps(static_cast<float>(high));
  for (int64_t b = first; b < last; ++b) {
    const __mmask16 mask = lanes(static_cast<int>(std::min<int64_t>(kLanes, n - b * kLanes)));
    const __m512 f = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + b * kLanes), factor);
    const __m512i code = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(f, least), most));
    _mm_mask_storeu_epi8(static_cast<char*>(y) + b * kLanes, mask, _mm512_cvtepi32_epi8(code));
  }
}

void quantized_global_avg_pool_prepared(int N, int pixels, int C, Code code, const void* x, void* y,
                                        const Team& team) {
  const int blocks = padded(C) / kLanes;
  const Share share(N * blocks, team.thread, team.threads);
  const __m512 count = _mm512_set1_ps(static_cast<float>(pixels));
  for (int i = share.first; i < share.last; ++i) {
    const int image = i / blocks, c0 = i % blocks * kLanes;
    const __mmask16 mask = lanes(C - c0);
    __m512i sum = _mm512_setzero_si512();
    for (int p = 0; p < pixels; ++p)
      sum = _mm512_add_epi32(sum, load_codes(x, code, (int64_t{image} * pixels + p) * C + c0, mask));
    const __m512i mean = _mm512_cvtps_epi32(_mm512_div_ps(_mm512_cvtepi32_ps(sum), count));
    _mm_mask_storeu_epi8(static_cast<char*>(y) + int64_t{image} * C + c0, mask, _mm512_cvtepi32_epi8(mean));
  }
}

#else

bool has_quantized_prepared() { return false; }

void quantized_conv2d_prepared(const ConvShape&, Code, const PackedCodes&, const Requantize&, Code,
                               const void*, void*, const Team&) {}
void quantized_depthwise_prepared(const ConvShape&, Code, const PaddedCodes&, const Requantize&, Code,
                                  const void*, void*, const Team&) {}
void quantize_prepared(int64_t, const float*, float, int, int, Code, void*, const Team&) {}
void quantized_global_avg_pool_prepared(int, int, int, Code, const void*, void*, const Team&) {}

#endif

}  // namespace espalier::kernels
