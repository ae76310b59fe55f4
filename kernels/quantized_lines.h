#pragma once
// Padded copies of the lines that a convolution sees. Only kernels/quantized_*_prepared.cpp include this.

#include "kernels/quantized_vnni.h"
#include "kernels/scratch.h"

#ifdef ESPALIER_VNNI

namespace espalier::kernels::vnni {

/// Lines of x with their padding to the left and right, in a ring; `ring` is how many are asked for at a
/// time. What lies behind a line may be read, up to 128 bytes, and means nothing.
class PaddedLines {
 public:
  PaddedLines(const ConvShape& s, Code x_code, const void* x, int ring)
      : s_(s),
        x_(static_cast<const uint8_t*>(x)),
        is_signed_(x_code == Code::kS8),
        ring_(ring),
        bytes_((int64_t{s.W + s.pad.left + s.pad.right} * s.C + 2 * kBytes + 63) / 64 * 64) {
    struct Tag {};
    memory_ =
        reinterpret_cast<uint8_t*>(scratch<Tag>(static_cast<size_t>((ring_ + 1) * bytes_) / sizeof(float)));
    const size_t left = static_cast<size_t>(s.pad.left) * s.C, right = static_cast<size_t>(s.pad.right) * s.C;
    for (int i = 0; i < ring_; ++i) {
      std::memset(memory_ + i * bytes_, zero(), left);
      std::memset(memory_ + i * bytes_ + left + int64_t{s.W} * s.C, zero(), right);
    }
    if (s.pad.top || s.pad.bottom) std::memset(memory_ + ring_ * bytes_, zero(), static_cast<size_t>(bytes_));
  }

  /// Line h of image n, or zeros if the image has none there. Ask in ascending order.
  const uint8_t* line(int n, int h) {
    if (h < 0 || h >= s_.H) return memory_ + ring_ * bytes_;
    if (n != image_) image_ = n, next_ = h;
    uint8_t* to = memory_ + h % ring_ * bytes_;
    if (h >= next_) {
      copy_codes(to + int64_t{s_.pad.left} * s_.C, x_ + (int64_t{n} * s_.H + h) * s_.W * s_.C,
                 int64_t{s_.W} * s_.C, is_signed_);
      next_ = h + 1;
    }
    return to;
  }

 private:
  int zero() const { return is_signed_ ? 0x80 : 0; }

  const ConvShape& s_;
  const uint8_t* x_;
  bool is_signed_;
  int ring_;
  int64_t bytes_;
  uint8_t* memory_;
  int image_ = -1, next_ = 0;  ///< what the ring holds ends before line next_ of the image
};

}  // namespace espalier::kernels::vnni

#endif
