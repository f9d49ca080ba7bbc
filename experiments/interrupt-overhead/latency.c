/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Latencies of user interrupts between two threads: SENDUIPI, end to end, and how long the receiver is
 * away from a loop that reads the time-stamp counter.
 *
 *	ring3 stat --roi marker latency.c
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#include "uintr.h"
#include "ring3.h"
static inline __attribute__((always_inline)) uint64_t tsc(void){ uint32_t a,d; __asm__ volatile("rdtsc":"=a"(a),"=d"(d)::"memory"); return (uint64_t)d<<32|a; }
volatile uint64_t last_tsc, handler_at, count; volatile int ready; static int fd;
volatile uint64_t after, before_h; 
void __attribute__((interrupt, target("general-regs-only"))) handler(struct __uintr_frame *f, unsigned long long v){ {uint32_t a_,d_; __asm__ volatile("rdtsc":"=a"(a_),"=d"(d_)::"memory"); handler_at=(uint64_t)d_<<32|a_;} count++; }
static void pin(int c){ cpu_set_t s; CPU_ZERO(&s); CPU_SET(c,&s); sched_setaffinity(0,sizeof s,&s); }
volatile uint64_t gap_max, gap_sum; volatile int stop;
static void *receiver(void*a){ pin(1); uintr_register_handler(handler,0); fd=uintr_vector_fd(3,0); _stui(); ready=1;
  uint64_t prev=tsc(), c=count; 
  while(!stop){ uint64_t t=tsc(); if (count!=c){ c=count; gap_sum += t-prev; } prev=t; last_tsc=t; }
  return 0; }
int main(void){ pin(0); pthread_t t; pthread_create(&t,0,receiver,0); while(!ready) usleep(100);
 int h=uintr_register_sender(fd,0); if(h<0){perror("sender");return 1;}
 uint64_t send=0,e2e=0; int n=20;
 for(volatile int i=0;i<2000;i++);
 ring3_roi_begin();
 for(int i=0;i<n+2;i++){ uint64_t c=count; __asm__ volatile("lfence":::"memory"); uint64_t a=tsc(); _senduipi(h); __asm__ volatile("lfence":::"memory"); uint64_t b=tsc(); while(count==c); if(i>=2){ send+=b-a; e2e+=handler_at-a;} if(i==1) gap_sum=0; for(volatile int j=0;j<3000;j++); }
 ring3_roi_end();
 stop=1; pthread_join(t,0);
 printf("senduipi %.1f  e2e %.1f  receiver gap %.1f\n", (double)send/n,(double)e2e/n,(double)gap_sum/n); return 0; }
