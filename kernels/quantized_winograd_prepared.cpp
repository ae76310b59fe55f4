#include <algorithm>

#include "kernels/quantized_lines.h"
#include "kernels/quantized_prepared.h"
#include "kernels/quantized_tile.h"
#include "kernels/quantized_winograd.h"
#include "kernels/reference_only.h"
#include "kernels/winograd_tiles.h"

namespace espalier::kernels {

bool quantized_winograd_suits(const ConvShape& s) {
#ifdef ESPALIER_INT8_AVX2
  constexpr int64_t kLargest =
      (int64_t{1} << 31) / (4 * 9 * 255 * 127);  // channels with which 4 y fits 32 bits
  return !direct_only() && s.R == 3 && s.S == 3 && s.stride == 1 && s.C >= 16 && s.K >= 16 &&
         s.C < kLargest - 1;
#else
  (void)s;
  return false;
#endif
}

void quantized_winograd_filter(const int8_t* w, int step, int16_t u[kWinogradPoints]) {
  const auto transform = [](int a, int b, int c, int* to) {
    to[0] = 2 * a;
    to[1] = a + b + c;
    to[2] = a - b + c;
    to[3] = 2 * c;
  };
  int columns[3][4];
  for (int t = 0; t < 3; ++t) transform(w[t * step], w[(3 + t) * step], w[(6 + t) * step], columns[t]);
  for (int i = 0; i < 4; ++i) {
    int row[4];
    transform(columns[0][i], columns[1][i], columns[2][i], row);
    for (int j = 0; j < 4; ++j) u[i * 4 + j] = static_cast<int16_t>(row[j]);
  }
}

#ifdef ESPALIER_INT8_AVX2

namespace {

using winograd::Run, winograd::Tiling;

using int8::Input;
using int8::Inputs;
using int8::kLanes;
using int8::kPack;
using int8::kStep;
using int8::Sums;

constexpr int kOut = 2, kIn = 4;  ///< a tile has kOut x kOut outputs, which see kIn x kIn inputs

/// B' of four vectors of codes.
void transform_input(const Inputs d[kIn], Inputs t[kIn]) {
  t[0] = _mm256_sub_epi16(d[0], d[2]);
  t[1] = _mm256_add_epi16(d[1], d[2]);
  t[2] = _mm256_sub_epi16(d[2], d[1]);
  t[3] = _mm256_sub_epi16(d[1], d[3]);
}

/// A' of four vectors of sums.
void transform_output(const Sums m[kIn], Sums y[kOut]) {
  y[0] = int8::add(m[0], int8::add(m[1], m[2]));
  y[1] = _mm256_sub_epi32(_mm256_sub_epi32(m[1], m[2]), m[3]);
}

/// Sums leave as they are: [tiles][whole vectors of K].
struct Products {
  int32_t* to;
  int64_t step;

  Sums start(int) const { return int8::zero(); }
  template <int kVectors>
  void put(const Sums* sum, int vector, int64_t tile) const {
    for (int v = 0; v < kVectors; ++v) int8::store_sums(to + tile * step + (vector + v) * kLanes, sum[v]);
  }
};

struct Problem {
  const ConvShape& s;
  int64_t v_row = (s.C + kStep - 1) / kStep * kStep;              ///< transformed inputs of a tile at a point
  int64_t m_row = (s.K + kLanes - 1) / kLanes * int64_t{kLanes};  ///< sums of a tile at a point

  /// So many tiles between two passes over the filters that these are worth fetching, and so few that what
  /// lies between the transforms stays in a second-level cache.
  int tiles_at_once() const {
    constexpr int64_t kBytes = 384 << 10;
    const int64_t each =
        kWinogradPoints * (v_row * int64_t{sizeof(Input)} + m_row * int64_t{sizeof(int32_t)});
    return static_cast<int>(std::max<int64_t>(24, kBytes / each));
  }

  /// V[point][tile][v_row] of the run, of which v is the first tile at point 0.
  void transform(const Run& run, int8::PaddedLines& padded, Input* v, int64_t point_step) const {
    const Input* line[kIn];
    for (int i = 0; i < kIn; ++i) line[i] = padded.line(run.n, run.p - s.pad.top + i) + int64_t{run.q} * s.C;
    for (int64_t c = 0; c < s.C; c += kStep) {
      Inputs column[kIn][kIn];  // [column of the tile][row of B'], two of which the next tile sees too
      const auto read = [&](int64_t pixel, Inputs* to) {
        Inputs d[kIn];
        for (int i = 0; i < kIn; ++i) d[i] = int8::load_inputs(line[i] + pixel * s.C + c);
        transform_input(d, to);
      };
      read(0, column[2]);
      read(1, column[3]);
      for (int64_t tile = 0; tile < run.tiles; ++tile) {
        std::copy_n(column[2], kIn, column[0]);
        std::copy_n(column[3], kIn, column[1]);
        read(tile * kOut + 2, column[2]);
        read(tile * kOut + 3, column[3]);
        Input* to = v + tile * v_row + c;
#pragma GCC unroll 4
        for (int i = 0; i < kIn; ++i) {
          const Inputs d[kIn] = {column[0][i], column[1][i], column[2][i], column[3][i]};
          Inputs t[kIn];
          transform_input(d, t);
#pragma GCC unroll 4
          for (int j = 0; j < kIn; ++j)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + (i * kIn + j) * point_step), t[j]);
        }
      }
    }
  }

  /// The outputs of the run from M[point][tile][m_row], of which m is the first tile at point 0.
  template <int kVectors, class Out>
  void output(const Run& run, const int32_t* m, int64_t point_step, int vector, const Out& out) const {
    const int rows = std::min(kOut, s.P() - run.p);
    Sums start[kVectors];
    for (int v = 0; v < kVectors; ++v) start[v] = out.start(vector + v);
    for (int64_t tile = 0; tile < run.tiles; ++tile) {
      const int32_t* from = m + tile * m_row + vector * kLanes;
      Sums y[kOut][kOut][kVectors];
      for (int v = 0; v < kVectors; ++v) {
        Sums half[kOut][kIn];  // [row of A'][column of the tile]
#pragma GCC unroll 4
        for (int j = 0; j < kIn; ++j) {
          Sums d[kIn], t[kOut];
#pragma GCC unroll 4
          for (int i = 0; i < kIn; ++i)
            d[i] = int8::load_sums(from + (i * kIn + j) * point_step + v * kLanes);
          transform_output(d, t);
          half[0][j] = t[0], half[1][j] = t[1];
        }
        for (int i = 0; i < kOut; ++i) {
          Sums t[kOut];
          transform_output(half[i], t);
          // The sums are four times what they should be, exactly.
          for (int j = 0; j < kOut; ++j) y[i][j][v] = int8::add(start[v], _mm256_srai_epi32(t[j], 2));
        }
      }
      const int q = run.q + static_cast<int>(tile) * kOut, columns = std::min(kOut, s.Q() - q);
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j)
          out.template put<kVectors>(y[i][j], vector, (int64_t{run.n} * s.P() + run.p + i) * s.Q() + q + j);
    }
  }

  template <class Out>
  void outputs(const Run& run, const int32_t* m, int64_t point_step, int vectors, const Out& out) const {
    int vector = 0;
    for (; vector + kPack <= vectors; vector += kPack) output<kPack>(run, m, point_step, vector, out);
    if (vector < vectors) output<1>(run, m, point_step, vector, out);
  }
};

template <class Out>
void run(const ConvShape& s, Code x_code, const PackedCodes& w, const Out& out, const void* x,
         const Team& team) {
  const Problem problem{s};
  const Tiling tiling(s, kOut);
  const Share share(tiling.tiles(), team.thread, team.threads);
  if (share.count() <= 0) return;
  const int rounds = (share.count() + problem.tiles_at_once() - 1) / problem.tiles_at_once();
  const int most = (share.count() + rounds - 1) / rounds;
  // Keeps the matrices from falling onto the same lines of a first-level cache.
  const int64_t v_step = most * problem.v_row + 64, m_step = most * problem.m_row + 32;
  struct Tag {};
  auto* m =
      reinterpret_cast<int32_t*>(scratch<Tag>(static_cast<size_t>(kWinogradPoints * (m_step + v_step))));
  auto* v = reinterpret_cast<Input*>(m + kWinogradPoints * m_step);
  // The last tile of a line may see a pixel more than there is; it does not reach an output.
  int8::PaddedLines padded(s, x_code, x, kIn, 1);
  const int8::Filters filters(w);
  for (int round = 0; round < rounds; ++round) {
    const Share part(share.count(), round, rounds);
    const int first = share.first + part.first, last = share.first + part.last;
    tiling.for_runs(first, last, tiling.across, [&](const Run& run, int64_t at) {
      problem.transform(run, padded, v + at * problem.v_row, v_step);
    });
    for (int point = 0; point < kWinogradPoints; ++point) {
      const Input* line = v + point * v_step;
      int8::columns(filters.line(point), Share(0, w.vectors()), int8::Lines{&line, problem.v_row},
                    part.count(), Products{m + point * m_step, problem.m_row}, 0);
    }
    tiling.for_runs(first, last, tiling.across, [&](const Run& run, int64_t at) {
      problem.outputs(run, m + at * problem.m_row, m_step, w.vectors(), out);
    });
  }
}

}  // namespace

void quantized_winograd_prepared(const ConvShape& s, Code x_code, const PackedCodes& w, const Requantize& r,
                                 Code y_code, const void* x, void* y, const Team& team) {
  const int8::Finish finish(r, w.largest(), y_code, y);
  if (finish.plain())
    run(s, x_code, w, int8::Outputs<true>{w, finish, s.K}, x, team);
  else
    run(s, x_code, w, int8::Outputs<false>{w, finish, s.K}, x, team);
}

#endif

}  // namespace espalier::kernels
