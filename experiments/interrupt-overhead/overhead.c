/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What user interrupts cost the program that they interrupt: one thread works, another sends it an
 * interrupt every PERIOD ticks.
 *
 *	ring3 run --engine timing --machine xui-gem5 --roi marker overhead.c KIND PERIOD
 *
 * KIND: 0 recursive fib, 1 elimination on a small matrix (linpack-like), 2 operations on memory.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#include "uintr.h"
#include "ring3.h"
static inline __attribute__((always_inline)) uint64_t tsc(void){ uint32_t a,d; __asm__ volatile("lfence;rdtsc":"=a"(a),"=d"(d)::"memory"); return (uint64_t)d<<32|a; }
volatile uint64_t count; volatile int ready,go,stop; static int fd; static int kind;
void __attribute__((interrupt,target("general-regs-only"))) handler(struct __uintr_frame *f, unsigned long long v){ count++; }
static void pin(int c){ cpu_set_t s; CPU_ZERO(&s); CPU_SET(c,&s); sched_setaffinity(0,sizeof s,&s); }
__attribute__((noinline)) int fib(int n){ return n<2?n:fib(n-1)+fib(n-2); }
static double A[64][64]; static char M[1<<18];
__attribute__((noinline)) double linpack(void){ int N=40; for(int i=0;i<N;i++)for(int j=0;j<N;j++)A[i][j]=(i*7+j*13)%31+(i==j)*50; for(int k=0;k<N;k++)for(int i=k+1;i<N;i++){double f=A[i][k]/A[k][k];for(int j=k;j<N;j++)A[i][j]-=f*A[k][j];} return A[N-1][N-1]; }
__attribute__((noinline)) uint64_t memops(void){ uint64_t s=0; for(int i=0;i<(1<<18);i+=8) *(uint64_t*)(M+((i*37)&((1<<18)-8)))+=i; for(int i=0;i<(1<<18);i+=64) s+=M[i]; return s; }
volatile uint64_t sink;
static uint64_t work(void){ uint64_t a=tsc(); if(kind==0) sink=fib(24); else if(kind==1) {for(int i=0;i<30;i++) sink=linpack();} else {for(int i=0;i<12;i++) sink=memops();} return tsc()-a; }
uint64_t t_base,t_int,n_int;
static void *receiver(void*a){ pin(1); uintr_register_handler(handler,0); fd=uintr_vector_fd(3,0); _stui(); work(); ready=1; while(!go); 
 ring3_roi_begin(); for(int i=0;i<(kind?1:12);i++) work(); t_base=work(); ready=2; while(go!=2); work(); uint64_t c=count; t_int=work(); n_int=count-c; ring3_roi_end(); stop=1; return 0; }
int main(int ac,char**av){ kind=atoi(av[1]); uint64_t period=atoi(av[2]); pin(0); pthread_t t; pthread_create(&t,0,receiver,0); while(!ready); 
 int h=uintr_register_sender(fd,0); go=1; while(ready!=2); go=2; uint64_t next=tsc()+period;
 while(!stop){ if(tsc()>=next){ _senduipi(h); next+=period; } }
 pthread_join(t,0);
 printf("kind %d period %lu: base %lu with %lu interrupts %lu: +%.2f%%, %.0f cycles each\n",kind,period,t_base,n_int,t_int,100.0*(t_int-(double)t_base)/t_base,((double)t_int-t_base)/n_int); return 0; }
