#pragma once
// Several stacks in one thread, of which one runs at a time.

#include <cstddef>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define ESPALIER_OWN_STACK_SWITCH
#else
#include <setjmp.h>
#endif

namespace espalier::test {

/// Where a stack waits. The registers that a call keeps are all there is to keep: a switch takes a few
/// nanoseconds, a twentieth of what swapcontext() takes, which asks the system.
struct Place {
#ifdef ESPALIER_OWN_STACK_SWITCH
  void* top = nullptr;
#else
  jmp_buf registers;
#endif
};

/// Goes on at `to`; returns when somebody goes on at `from`.
void switch_stacks(Place& from, Place& to);

/// Begins `enter`, which must not return, on a stack of so many bytes; returns when somebody goes on at
/// `from`.
void begin_stack(Place& from, char* stack, size_t bytes, void (*enter)());

}  // namespace espalier::test
