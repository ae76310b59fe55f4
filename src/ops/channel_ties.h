#pragma once
// Which channels must be removed together: a union-find over single channels of tensor axes. Ops answer in
// channels(); graph/channel_groups.h builds the closure of a whole graph.

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "tensor/shape.h"

namespace espalier {

class ChannelTies {
 public:
  /// One axis of one graph value. An axis that nobody ties has no channels that matter.
  struct Axis {
    int value;
    int axis;
    auto operator<=>(const Axis&) const = default;
  };

  /// The axis of the current item's i-th input or output; -1 is the last one, the channels of an activation.
  Axis in(int i, int axis = -1) const;
  Axis out(int i = 0, int axis = -1) const;
  int extent(Axis axis) const;
  int inputs() const { return static_cast<int>(in_.size()); }  ///< of the current item

  /// Channel c of a goes with channel c of b; the extents must be equal.
  void same(Axis a, Axis b);
  /// Channels a_first .. a_first + count - 1 of a go with b_first ... of b: concat is one call with an
  /// offset.
  void same(Axis a, int a_first, Axis b, int b_first, int count);
  /// None of these may be removed: network outputs, image channels, anything an op cannot lose.
  void fixed(Axis axis);

  // For the builder and the closure.
  void begin_item(std::span<const int> in, std::span<const int> out,
                  const std::vector<Meta>& metas_of_values);
  std::vector<Axis> axes() const;    ///< every axis mentioned, in order of first mention
  int find(Axis axis, int channel);  ///< the set's representative
  bool is_fixed(int representative);

 private:
  int base(Axis axis);
  int root(int id);

  std::span<const int> in_, out_;
  const std::vector<Meta>* metas_ = nullptr;
  std::map<Axis, int> bases_;
  std::vector<Axis> order_;
  std::vector<int> parent_;
  std::vector<bool> fixed_;
};

}  // namespace espalier
