#include "tensor/shape.h"

#include <cassert>
#include <ostream>

#include "base/error.h"

namespace espalier {

Shape::Shape(std::initializer_list<int> extents) : Shape(std::vector<int>(extents)) {}

Shape::Shape(const std::vector<int>& extents) : axes_(static_cast<int>(extents.size())) {
  ESPALIER_CHECK(axes_ <= kMaxAxes, "a tensor has at most ", kMaxAxes, " axes, not ", axes_);
  for (int i = 0; i < axes_; ++i) extents_[i] = extents[i];
}

int64_t Shape::elements() const {
  int64_t count = 1;
  for (int i = 0; i < axes_; ++i) count *= extents_[i];
  return count;
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int i = 0; i < shape.axes(); ++i) out << (i ? "," : "") << shape[i];
  return out << ']';
}

int bytes_of(DType type) {
  switch (type) {
    case DType::kF32:
    case DType::kS32:
      return 4;
    case DType::kBF16:
      return 2;
    default:
      return 1;
  }
}

const char* name(DType type) {
  constexpr const char* names[] = {"f32", "bf16", "s8", "u8", "s32"};
  return names[static_cast<int>(type)];
}

DType dtype_from_name(const std::string& text) {
  for (DType type : {DType::kF32, DType::kBF16, DType::kS8, DType::kU8, DType::kS32})
    if (text == name(type)) return type;
  fail("unknown element type '" + text + "'; known are f32, bf16, s8, u8, s32");
}

std::ostream& operator<<(std::ostream& out, DType type) { return out << name(type); }
std::ostream& operator<<(std::ostream& out, const Meta& meta) { return out << meta.dtype << meta.shape; }

}  // namespace espalier
