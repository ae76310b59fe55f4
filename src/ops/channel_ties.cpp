#include "ops/channel_ties.h"

#include <cassert>

namespace espalier {

ChannelTies::Axis ChannelTies::in(int i, int axis) const {
  const int value = in_[i], axes = (*metas_)[value].shape.axes();
  return {value, axis < 0 ? axes + axis : axis};
}

ChannelTies::Axis ChannelTies::out(int i, int axis) const {
  const int value = out_[i], axes = (*metas_)[value].shape.axes();
  return {value, axis < 0 ? axes + axis : axis};
}

int ChannelTies::extent(Axis a) const { return (*metas_)[a.value].shape[a.axis]; }

void ChannelTies::same(Axis a, Axis b) {
  assert(extent(a) == extent(b));
  same(a, 0, b, 0, extent(a));
}

void ChannelTies::same(Axis a, int a_first, Axis b, int b_first, int count) {
  assert(a_first + count <= extent(a) && b_first + count <= extent(b));
  const int base_a = base(a), base_b = base(b);
  for (int c = 0; c < count; ++c) {
    const int x = root(base_a + a_first + c), y = root(base_b + b_first + c);
    if (x == y) continue;
    const int low = x < y ? x : y, high = x < y ? y : x;
    parent_[high] = low;
    if (fixed_[high]) fixed_[low] = true;
  }
}

void ChannelTies::fixed(Axis axis) {
  const int first = base(axis);
  for (int c = 0; c < extent(axis); ++c) fixed_[root(first + c)] = true;
}

void ChannelTies::begin_item(std::span<const int> in, std::span<const int> out,
                             const std::vector<Meta>& metas) {
  in_ = in;
  out_ = out;
  metas_ = &metas;
}

std::vector<ChannelTies::Axis> ChannelTies::axes() const { return order_; }
int ChannelTies::find(Axis axis, int channel) { return root(base(axis) + channel); }
bool ChannelTies::is_fixed(int representative) { return fixed_[root(representative)]; }

int ChannelTies::base(Axis axis) {
  const auto [at, added] = bases_.try_emplace(axis, static_cast<int>(parent_.size()));
  if (added) {
    order_.push_back(axis);
    for (int c = 0; c < extent(axis); ++c) {
      parent_.push_back(static_cast<int>(parent_.size()));
      fixed_.push_back(false);
    }
  }
  return at->second;
}

int ChannelTies::root(int id) {
  while (parent_[id] != id) id = parent_[id] = parent_[parent_[id]];
  return id;
}

}  // namespace espalier
