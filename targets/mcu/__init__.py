"""Static libraries for microcontrollers: no operating system, no allocation, no TVM."""
