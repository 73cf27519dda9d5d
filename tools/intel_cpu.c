/* Preloaded by `make parity`: tells the matrix library that the processor is one of Intel's, so
   that it takes the instructions with which the reference tensors were computed. */
int mkl_serv_intel_cpu_true(void) { return 1; }
int mkl_serv_intel_cpu(void) { return 1; }
