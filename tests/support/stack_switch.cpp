#include "support/stack_switch.h"

#ifndef ESPALIER_OWN_STACK_SWITCH
#include <ucontext.h>
#else
#include <cstdint>
#endif

namespace espalier::test {

#ifdef ESPALIER_OWN_STACK_SWITCH

// (from: where to keep the stack's top, to: the other's), System V ABI: rbx, rbp and r12 to r15 are the
// callee's to keep.
asm(R"(
.pushsection .text
.type espalier_switch_stacks, @function
espalier_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size espalier_switch_stacks, .-espalier_switch_stacks
.popsection
)");
extern "C" void espalier_switch_stacks(void** from, void* to);

void switch_stacks(Place& from, Place& to) { espalier_switch_stacks(&from.top, to.top); }

void begin_stack(Place& from, char* stack, size_t bytes, void (*enter)()) {
  constexpr int kRegisters = 6;
  // What a switch takes off the stack: registers, then where to go on. A function begins 8 bytes below a
  // multiple of 16.
  auto* top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + bytes) / 16 * 16) - 2;
  *top = reinterpret_cast<void*>(enter);
  for (int i = 0; i < kRegisters; ++i) *--top = nullptr;
  espalier_switch_stacks(&from.top, top);
}

#else

void switch_stacks(Place& from, Place& to) {
  if (!_setjmp(from.registers)) _longjmp(to.registers, 1);
}

void begin_stack(Place& from, char* stack, size_t bytes, void (*enter)()) {
  if (_setjmp(from.registers)) return;
  ucontext_t first;
  getcontext(&first);
  first.uc_stack.ss_sp = stack;
  first.uc_stack.ss_size = bytes;
  makecontext(&first, enter, 0);
  setcontext(&first);
}

#endif

}  // namespace espalier::test
