/* The least that an init can be: it starts its command, passes on every signal to it, reaps whatever dies, and ends as the
   command ended. No options, no PATH, no process group, no C library. benches/compare measures it beside the others, so that
   everybody sees how much of a figure is the kernel's: nothing that is an init can be much faster.

   cc -O2 -static -nostdlib -fno-stack-protector -fno-asynchronous-unwind-tables -fno-builtin -o floor floor.c */

#if defined(__x86_64__)
enum { CLONE = 56, EXECVE = 59, EXIT = 231, KILL = 62, WAIT4 = 61, MASK = 14, TIMEDWAIT = 128 };
static long call(long number, long a, long b, long c, long d, long e)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
	                 : "rcx", "r11", "memory");
	return result;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall run\n");
#elif defined(__aarch64__)
enum { CLONE = 220, EXECVE = 221, EXIT = 94, KILL = 129, WAIT4 = 260, MASK = 135, TIMEDWAIT = 137 };
static long call(long number, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}
__asm__(".globl _start\n_start: mov x0, sp\nbl run\n");
#endif

enum { SIG_SETMASK = 2, SIGCHLD = 17, WNOHANG = 1, WALL = 0x40000000, CLONE_VM = 0x100, CLONE_VFORK = 0x4000 };

static const unsigned long all = -1L, none;

/* vfork(2) has to be inlined: a child that returned from it would spoil the stack that its parent returns on. */
static inline __attribute__((always_inline)) long start(char **command, char **environment)
{
	long pid = call(CLONE, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		call(MASK, SIG_SETMASK, (long)&none, 0, 8, 0);
		call(EXECVE, (long)command[0], (long)command, (long)environment, 0, 0);
		call(EXIT, 127, 0, 0, 0, 0);
	}
	return pid;
}

__attribute__((noreturn, used)) void run(long *stack)
{
	char **arguments = (char **)(stack + 1);
	char **environment = arguments + stack[0] + 1;
	call(MASK, SIG_SETMASK, (long)&all, 0, 8, 0);
	long command = start(arguments + 1, environment);
	for (;;) {
		int status;
		long pid = call(WAIT4, -1, (long)&status, WNOHANG | WALL, 0, 0);
		if (pid == command)
			call(EXIT, status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff, 0, 0, 0, 0);
		if (pid > 0)
			continue;
		long signal = call(TIMEDWAIT, (long)&all, 0, 0, 8, 0);
		if (signal > 0 && signal != SIGCHLD)
			call(KILL, command, signal, 0, 0, 0);
	}
}
