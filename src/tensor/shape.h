#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <vector>

namespace espalier {

/// Extents of at most four axes; images are [N,H,W,C]. Printed as [8,56,56,24].
class Shape {
 public:
  static constexpr int kMaxAxes = 4;

  Shape() = default;
  Shape(std::initializer_list<int> extents);
  explicit Shape(const std::vector<int>& extents);

  int axes() const { return axes_; }
  int operator[](int axis) const { return extents_[axis]; }
  int& operator[](int axis) { return extents_[axis]; }
  int back() const {
    return axes_ ? extents_[axes_ - 1] : 1;
  }                          ///< the last extent: the channels of an activation
  int64_t elements() const;  ///< 1 for a scalar (no axes)
  std::vector<int> vector() const { return {extents_.begin(), extents_.begin() + axes_}; }
  bool operator==(const Shape& other) const = default;

 private:
  int axes_ = 0;
  std::array<int, kMaxAxes> extents_{};
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

/// Element types: f32 and bf16 values, s8 and u8 codes of INT8 tensors, s32 accumulators, biases and labels.
enum class DType : unsigned char { kF32, kBF16, kS8, kU8, kS32 };

int bytes_of(DType type);
const char* name(DType type);                    ///< "f32"
DType dtype_from_name(const std::string& name);  ///< throws Error on an unknown name
std::ostream& operator<<(std::ostream& out, DType type);

/// What is known of a tensor before it exists.
struct Meta {
  Shape shape;
  DType dtype = DType::kF32;
  bool operator==(const Meta&) const = default;
};
using Metas = std::vector<Meta>;
std::ostream& operator<<(std::ostream& out, const Meta& meta);

}  // namespace espalier
