/* Preloaded into a process, this answers CPUID without some features: LD_PRELOAD=cpumask.so
   CPUMASK=avx2 (neither AVX-512 nor VNNI nor AMX), avx512 (no VNNI, no AMX) or sse (no AVX).
   Linux makes CPUID fault on request where the CPU can; the handler edits the real answer. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define BIT(n) (1u << (n))
enum { ARCH_SET_CPUID = 0x1012 };
static int keeps_avx512, keeps_avx;

static long allow_cpuid(unsigned long on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, on); }

static void mask(unsigned leaf, unsigned sub_leaf, unsigned *b, unsigned *a, unsigned *c,
                 unsigned *d) {
    if (leaf == 7 && sub_leaf == 0) {
        const unsigned foundation = BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31);
        *b &= ~(BIT(21) | (keeps_avx512 ? 0 : foundation) | (keeps_avx ? 0 : BIT(5)));
        *c &= ~(BIT(1) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14));
        *d &= ~(BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25)); /* AMX */
    }
    if (leaf == 7 && sub_leaf == 1) {
        *a &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23)); /* AVX-VNNI and what came after it */
        *d &= ~(BIT(4) | BIT(5) | BIT(10) | BIT(19));
    }
    if (leaf == 1 && !keeps_avx) *c &= ~(BIT(12) | BIT(28) | BIT(29));
}

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)registers[REG_RIP];
    if (code[0] != 0x0F || code[1] != 0xA2) { /* another fault than that of CPUID */
        signal(SIGSEGV, SIG_DFL);
        return;
    }
    unsigned leaf = registers[REG_RAX], sub_leaf = registers[REG_RCX], a, b, c, d;
    allow_cpuid(1);
    __cpuid_count(leaf, sub_leaf, a, b, c, d);
    allow_cpuid(0);
    mask(leaf, sub_leaf, &b, &a, &c, &d);
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
    const char *kept = getenv("CPUMASK");
    if (!kept) return;
    keeps_avx512 = !strcmp(kept, "avx512"), keeps_avx = strcmp(kept, "sse") != 0;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    if (allow_cpuid(0)) perror("this kernel can't mask CPUID"), _exit(3);
}
