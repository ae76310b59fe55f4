#include "support/emulator.h"

#include "kernels/warpgroup.h"

#include <pthread.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/emulated_products.h"
#include "support/stack_switch.h"

namespace espalier::test {

namespace {

/// Not beside the address sanitizer, which takes the place of what calls the check.
#ifdef ESPALIER_WATCH_ACCESSES
constexpr bool kWatches = true;
#else
constexpr bool kWatches = false;
#endif

using kernels::warp::Block;
using kernels::warp::kGroupThreads;
using kernels::warp::kLanes;
using kernels::warp::emulation::GroupProduct;

struct Copy {
  void* to;
  const void* from;
  int bytes;
  bool valid;
};

struct Fibre {
  static constexpr size_t kStack = 128 * 1024;
  Place place;
  std::unique_ptr<char[]> stack{new char[kStack]};
  bool started = false, done = true;
  std::vector<std::vector<Copy>> groups;  // asynchronous copies, the open group last
};

struct Rendezvous {
  int arrived = 0;
  uint64_t generation = 0;
  void* lanes[kGroupThreads] = {};
};

/// Four warps, and the products they have asked for: batches, the open one last.
struct Group {
  using Product = std::vector<GroupProduct>;  // one a thread
  Rendezvous meeting;
  std::deque<std::vector<Product>> batches{{}};
};

class Machine {
 public:
  void run(const EmulatedLaunch& launch, Schedule schedule, const std::function<void()>& kernel) {
    launch_ = launch;
    schedule_ = schedule;
    kernel_ = &kernel;
    error_ = nullptr;
    check_.begin_launch(launch.reachable);
    while (fibres_.size() < static_cast<size_t>(launch.threads)) fibres_.push_back(std::make_unique<Fibre>());
    shared_.resize(static_cast<size_t>(launch.shared_bytes) + kGuard + 16);
    for (int z = 0; z < launch.grid.z; ++z)
      for (int y = 0; y < launch.grid.y; ++y)
        for (int x = 0; x < launch.grid.x; ++x) run_block({x, y, z});
  }

  int thread() const { return thread_; }
  Block block() const { return block_; }
  unsigned char* shared() {
    const auto at = reinterpret_cast<uintptr_t>(shared_.data());
    return reinterpret_cast<unsigned char*>((at + 15) / 16 * 16);
  }

  /// True for the one that comes last.
  bool meet(Rendezvous& r, int count, void* mine, void (*all)(void* const*)) {
    const uint64_t generation = r.generation;
    if (mine) r.lanes[thread_ % count] = mine;
    ++progress_;
    if (++r.arrived == count) {
      if (all) all(r.lanes);
      r.arrived = 0;
      ++r.generation;
      return true;
    }
    while (r.generation == generation) yield();
    return false;
  }
  void barrier() {
    if (!meet(barrier_, launch_.threads, nullptr, nullptr)) return;
    check_.barrier();
    if (launch_.profile) launch_.profile->end_of_requests();
  }
  void collective(void* mine, void (*all)(void* const*)) {
    meet(warps_[static_cast<size_t>(thread_ / kLanes)], kLanes, mine, all);
  }

  void group_multiply(const GroupProduct& mine) {
    GroupProduct own = mine;
    for (const unsigned char* rows : {mine.a, mine.b})
      if ((rows - shared()) % kernels::warp::kGroupAlignment) fail("rows of a product are not aligned");
    meet_group(&own, [](void* const* lanes) {
      Group::Product product;
      for (int i = 0; i < kGroupThreads; ++i) product.push_back(*static_cast<GroupProduct*>(lanes[i]));
      if (machine_().schedule_ == Schedule::kForwardLate)
        multiply_group(product, machine_().check_);
      else
        machine_().group().batches.back().push_back(std::move(product));
    });
  }
  void group_commit() {
    int nothing = 0;
    meet_group(&nothing, [](void* const*) { machine_().group().batches.emplace_back(); });
  }
  void group_wait(int left) {
    meet_group(&left, [](void* const* lanes) {
      auto& batches = machine_().group().batches;
      while (static_cast<int>(batches.size()) - 1 > *static_cast<int*>(lanes[0])) {
        for (const Group::Product& product : batches.front()) multiply_group(product, machine_().check_);
        batches.pop_front();
      }
    });
  }

  void expect_aligned(const void* p, int bytes) {
    if (reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(bytes))
      fail("an access is not aligned to its size");
  }
  void copy_async(const Copy& copy, const void* code) {
    expect_aligned(copy.to, copy.bytes);
    expect_aligned(copy.from, copy.bytes);
    const auto* to = static_cast<unsigned char*>(copy.to);
    if (to < shared() || to + copy.bytes > shared() + launch_.shared_bytes)
      fail("an asynchronous copy leaves the shared memory");
    if (launch_.profile) {
      if (copy.valid) launch_.profile->access(thread_, copy.from, copy.bytes, nullptr, code);
      launch_.profile->access(thread_, copy.to, copy.bytes, shared(), code);
    }
    if (schedule_ == Schedule::kBackwardEarly)
      run(copy);
    else
      here().groups.back().push_back(copy);
  }
  void run(const Copy& copy) {
    if (copy.valid) {
      check_.read(thread_, copy.from, copy.bytes);
      std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
    } else {
      std::memset(copy.to, 0, static_cast<size_t>(copy.bytes));
    }
    check_.write(thread_, copy.to, copy.bytes);
  }
  void commit_copies() { here().groups.emplace_back(); }
  void wait_copies(int left) {
    auto& groups = here().groups;
    while (static_cast<int>(groups.size()) - 1 > left) {
      for (const Copy& copy : groups.front()) run(copy);
      groups.erase(groups.begin());
    }
  }

  uint32_t add_count(uint32_t* p, uint32_t v) {
    check_.atomic(thread_, p, sizeof *p);
    return std::exchange(*p, *p + v);  // threads take turns where they wait, and nowhere else
  }
  void raise(uint32_t* p, uint32_t v) {
    check_.atomic(thread_, p, sizeof *p);
    *p = std::max(*p, v);
  }
  void publish() { check_.publish(thread_); }
  AccessCheck& check() { return check_; }
  /// The kernel's own code runs from here on.
  void watch() {
    watched = {&check_, launch_.profile, thread_, here().stack.get(), here().stack.get() + Fibre::kStack};
  }

 private:
  static constexpr size_t kGuard = 64;

  static Machine& machine_();
  Group& group() { return groups_[static_cast<size_t>(thread_ / kGroupThreads)]; }
  void meet_group(void* mine, void (*all)(void* const*)) { meet(group().meeting, kGroupThreads, mine, all); }

  Fibre& here() { return *fibres_[static_cast<size_t>(thread_)]; }
  void fail(const char* what) {
    if (!error_) error_ = what;
  }

  static void enter();
  void yield() { switch_stacks(here().place, scheduler_); }
  void resume() {
    Fibre& f = here();
    if (f.started) return switch_stacks(scheduler_, f.place);
    f.started = true;
    begin_stack(scheduler_, f.stack.get(), Fibre::kStack, enter);
  }

  void run_block(Block block) {
    block_ = block;
    check_.begin_block(shared(), launch_.shared_bytes, launch_.threads);
    std::fill(shared_.begin(), shared_.end(), 0xff);
    barrier_ = {};
    warps_.assign(static_cast<size_t>((launch_.threads + kLanes - 1) / kLanes), {});
    groups_.assign(static_cast<size_t>((launch_.threads + kGroupThreads - 1) / kGroupThreads), {});
    for (int i = 0; i < launch_.threads; ++i) {
      Fibre& f = *fibres_[static_cast<size_t>(i)];
      f.started = f.done = false;
      f.groups.assign(1, {});
    }
    for (int left = launch_.threads; left > 0;) {
      const uint64_t before = progress_;
      const int running = left;
      for (int i = 0; i < launch_.threads; ++i) {
        thread_ = schedule_ == Schedule::kForwardLate ? i : launch_.threads - 1 - i;
        if (here().done) continue;
        resume();
        if (here().done) --left;
      }
      if (left == running && progress_ == before)
        throw std::runtime_error("emulated block: threads wait for ones that do not come");
    }
    if (launch_.profile) launch_.profile->end_of_requests();
    const unsigned char* end = shared() + launch_.shared_bytes;
    for (size_t i = 0; i < kGuard - 16; ++i)
      if (end[i] != 0xff) fail("a write beyond the shared memory");
    if (error_) throw std::runtime_error(std::string("emulated block: ") + error_);
    if (kWatches && !check_.error().empty())
      throw std::runtime_error(
          fmt::format("emulated block ({}, {}, {}): {}", block.x, block.y, block.z, check_.error()));
  }

  EmulatedLaunch launch_;
  Schedule schedule_ = Schedule::kForwardLate;
  const std::function<void()>* kernel_ = nullptr;
  const char* error_ = nullptr;
  AccessCheck check_;
  Place scheduler_;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  std::vector<unsigned char> shared_;
  Rendezvous barrier_;
  std::vector<Rendezvous> warps_;
  std::vector<Group> groups_;
  Block block_{};
  int thread_ = 0;
  uint64_t progress_ = 0;
};

Machine& machine() {
  static Machine m;
  return m;
}

Machine& Machine::machine_() { return machine(); }

void Machine::enter() {
  Machine& m = machine();
  m.watch();
  (*m.kernel_)();
  watched = {};
  m.here().done = true;
  m.yield();
}

AccessCheck& check_of_items() {
  static AccessCheck check;
  return check;
}

/// Of the calling thread.
Range own_stack() {
  pthread_attr_t attributes;
  void* begin = nullptr;
  size_t bytes = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    pthread_attr_getstack(&attributes, &begin, &bytes);
    pthread_attr_destroy(&attributes);
  }
  return {begin, static_cast<char*>(begin) + bytes};
}

/// Of all launches, where ESPALIER_ACCESS_PROFILE asks for it.
struct ProgramsProfile {
  AccessProfile of_all;
  AccessProfile* wanted = std::getenv("ESPALIER_ACCESS_PROFILE") ? &of_all : nullptr;
  ~ProgramsProfile() {
    if (wanted) fmt::print(stderr, "{}", of_all.report());
  }
};

}  // namespace

void emulate(const EmulatedLaunch& launch, Schedule schedule, const std::function<void()>& kernel) {
  static ProgramsProfile profile;
  EmulatedLaunch profiled = launch;
  if (!profiled.profile) profiled.profile = profile.wanted;
  machine().run(profiled, schedule, kernel);
}

void emulate_items(int64_t count, Schedule schedule, const std::vector<Range>& reachable,
                   const std::function<void(int64_t)>& item) {
  AccessCheck& check = check_of_items();
  thread_local const Range stack = own_stack();  // the system is asked, which takes a while
  check.begin_launch(reachable);
  check.begin_block(nullptr, 0, 1);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t which = schedule == Schedule::kForwardLate ? i : count - 1 - i;
    watched = {&check, nullptr, static_cast<int>(which % AccessCheck::kTensorCores),
               static_cast<const char*>(stack.begin), static_cast<const char*>(stack.end)};
    item(which);
    watched = {};
  }
  if (kWatches && !check.error().empty()) throw std::runtime_error(check.error());
}

void forget_accesses(const Range& memory) {
  machine().check().forget(memory);
  check_of_items().forget(memory);
}

}  // namespace espalier::test

namespace espalier::kernels::warp::emulation {

using test::machine;

namespace {

/// What the emulator does itself is nobody's access.
struct Unwatched {
  Unwatched() { test::watched = {}; }
  ~Unwatched() { machine().watch(); }
};

}  // namespace

int thread() { return machine().thread(); }
Block block() { return machine().block(); }
unsigned char* shared() { return machine().shared(); }
void barrier() {
  const Unwatched here;
  machine().barrier();
}
void copy_async(void* to, const void* from, int bytes, bool valid) {
  const void* code = __builtin_return_address(0);
  const Unwatched here;
  machine().copy_async({to, from, bytes, valid}, code);
}
void commit_copies() {
  const Unwatched here;
  machine().commit_copies();
}
void wait_copies(int left) {
  const Unwatched here;
  machine().wait_copies(left);
}
void collective(void* mine, void (*all)(void* const*)) {
  const Unwatched here;
  machine().collective(mine, all);
}
void group_multiply(const GroupProduct& mine) {
  const Unwatched here;
  machine().group_multiply(mine);
}
void group_commit() {
  const Unwatched here;
  machine().group_commit();
}
void group_wait(int left) {
  const Unwatched here;
  machine().group_wait(left);
}
void publish() {
  const Unwatched here;
  machine().publish();
}
uint32_t add_count(uint32_t* p, uint32_t v) {
  const Unwatched here;
  return machine().add_count(p, v);
}
void raise(uint32_t* p, uint32_t v) {
  const Unwatched here;
  machine().raise(p, v);
}
void load(void* to, const void* p, int bytes) {
  machine().expect_aligned(p, bytes);
  if (test::watched.sees(p)) test::watched.read(p, bytes, __builtin_return_address(0));
  std::memcpy(to, p, static_cast<size_t>(bytes));
}
void store(void* p, const void* from, int bytes) {
  machine().expect_aligned(p, bytes);
  if (test::watched.sees(p)) test::watched.write(p, bytes, __builtin_return_address(0));
  std::memcpy(p, from, static_cast<size_t>(bytes));
}

}  // namespace espalier::kernels::warp::emulation
