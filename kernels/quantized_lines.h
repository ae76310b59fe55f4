#pragma once
// Padded copies of the lines that a convolution sees. Only kernels/quantized_*_prepared.cpp include this.

#include "kernels/quantized_vectors.h"
#include "kernels/scratch.h"

#ifdef ESPALIER_INT8_VECTORS

namespace espalier::kernels::int8 {

/// Lines of x with their padding to the left and right, as inputs, in a ring; `ring` is how many are asked
/// for at a time. What lies behind a line may be read, up to `beyond` pixels and 2 kStep inputs, and means
/// nothing.
class PaddedLines {
 public:
  PaddedLines(const ConvShape& s, Code x_code, const void* x, int ring, int beyond = 0)
      : s_(s),
        x_(static_cast<const uint8_t*>(x)),
        is_signed_(x_code == Code::kS8),
        ring_(ring),
        length_((int64_t{s.W + s.pad.left + s.pad.right + beyond} * s.C + 2 * kStep + 63) / 64 * 64) {
    struct Tag {};
    memory_ = reinterpret_cast<Input*>(
        scratch<Tag>(static_cast<size_t>((ring_ + 1) * length_) * sizeof(Input) / sizeof(float)));
    const int64_t left = int64_t{s.pad.left} * s.C, right = int64_t{s.pad.right} * s.C;
    for (int i = 0; i < ring_; ++i) {
      std::fill_n(memory_ + i * length_, left, zero());
      std::fill_n(memory_ + i * length_ + left + int64_t{s.W} * s.C, right, zero());
    }
    if (s.pad.top || s.pad.bottom) std::fill_n(memory_ + ring_ * length_, length_, zero());
  }

  /// Line h of image n, or zeros if the image has none there. Ask in ascending order.
  const Input* line(int n, int h) {
    if (h < 0 || h >= s_.H) return memory_ + ring_ * length_;
    if (n != image_) image_ = n, next_ = h;
    Input* to = memory_ + h % ring_ * length_;
    if (h >= next_) {
      copy_codes(to + int64_t{s_.pad.left} * s_.C, x_ + (int64_t{n} * s_.H + h) * s_.W * s_.C,
                 int64_t{s_.W} * s_.C, is_signed_);
      next_ = h + 1;
    }
    return to;
  }

 private:
  Input zero() const { return is_signed_ ? kOffset : 0; }

  const ConvShape& s_;
  const uint8_t* x_;
  bool is_signed_;
  int ring_;
  int64_t length_;  ///< inputs
  Input* memory_;
  int image_ = -1, next_ = 0;  ///< what the ring holds ends before line next_ of the image
};

}  // namespace espalier::kernels::int8

#endif
