/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * SENDUIPI to a receiver that sleeps, so that the notification is suppressed (SN).
 *
 *	ring3 run --engine timing --roi marker suppressed.c
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#include "uintr.h"
#include "ring3.h"
static inline __attribute__((always_inline)) uint64_t tsc(void){ uint32_t a,d; __asm__ volatile("lfence;rdtsc":"=a"(a),"=d"(d)::"memory"); return (uint64_t)d<<32|a; }
volatile uint64_t count; volatile int ready,stop; static int fd;
void __attribute__((interrupt,target("general-regs-only"))) handler(struct __uintr_frame *f, unsigned long long v){ count++; }
static void pin(int c){ cpu_set_t s; CPU_ZERO(&s); CPU_SET(c,&s); sched_setaffinity(0,sizeof s,&s); }
static void *receiver(void*a){ pin(1); uintr_register_handler(handler,0); fd=uintr_vector_fd(3,0); _stui(); ready=1; while(!stop) usleep(20000); return 0; }
int main(void){ pin(0); pthread_t t; pthread_create(&t,0,receiver,0); while(!ready) usleep(100); usleep(1000);
 int h=uintr_register_sender(fd,0);
 uint64_t e=0,s=0; int n=30;
 ring3_roi_begin();
 for(int i=0;i<n+5;i++){ uint64_t a=tsc(),b=tsc(); if(i>=5)e+=b-a; }
 for(int i=0;i<n+5;i++){ for(volatile int j=0;j<100;j++); uint64_t a=tsc(); _senduipi(h); uint64_t b=tsc(); if(i>=5)s+=b-a; }
 ring3_roi_end(); stop=1;
 printf("empty %.1f  senduipi (SN) %.1f  count %lu\n",(double)e/n,(double)s/n,count); return 0; }
