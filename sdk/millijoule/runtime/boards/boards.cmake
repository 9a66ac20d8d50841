# Link firmware for an emulated board and run it there.
#
#   mj_link_board(TARGET [BOARD mps2-an386] [FLASH 256K] [RAM 64K] [STACK 8K])
#
# adds start-up code, semihosting and the board's linker script to an executable, and a target `run`
# that starts it in QEMU and fails if its main() does not return 0. FLASH and RAM are the budget of the
# part that you have in mind (default: the emulated board's own): linking fails beyond it.

set(MJ_BOARDS_DIR ${CMAKE_CURRENT_LIST_DIR})

# Board of a core, and the clock of its system timer in hertz.
set(MJ_BOARD_cortex-m3 mps2-an385)
set(MJ_BOARD_cortex-m4 mps2-an386)
set(MJ_BOARD_cortex-m7 mps2-an500)
set(MJ_BOARD_cortex-m55 mps3-an547)
set(MJ_SYSTICK_HZ_mps2-an385 25000000)
set(MJ_SYSTICK_HZ_mps2-an386 25000000)
set(MJ_SYSTICK_HZ_mps2-an500 25000000)
set(MJ_SYSTICK_HZ_mps3-an547 32000000)

function(mj_link_board target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "BOARD;FLASH;RAM;STACK" "")
  set(board ${arg_BOARD})
  if(NOT board)
    set(board ${MJ_BOARD_${CMAKE_SYSTEM_PROCESSOR}})
  endif()
  if(NOT MJ_SYSTICK_HZ_${board})
    message(FATAL_ERROR "[board] must be mps2-an385, mps2-an386, mps2-an500 or mps3-an547, but is "
      "'${board}'; for your own board use its vendor's start-up code and linker script instead")
  endif()
  target_sources(${target} PRIVATE ${MJ_BOARDS_DIR}/startup.c ${MJ_BOARDS_DIR}/semihosting.c)
  target_include_directories(${target} PRIVATE ${MJ_BOARDS_DIR})
  target_compile_definitions(${target} PRIVATE MJ_SYSTICK_HZ=${MJ_SYSTICK_HZ_${board}}u)
  target_compile_options(${target} PRIVATE -ffunction-sections -fdata-sections)
  foreach(size FLASH RAM STACK)
    if(arg_${size})
      target_link_options(${target} PRIVATE -Wl,--defsym=MJ_${size}_BYTES=${arg_${size}})
    endif()
  endforeach()
  target_link_options(${target} PRIVATE
    -nostartfiles -specs=nano.specs -specs=nosys.specs
    -Wl,--gc-sections -Wl,--print-memory-usage -Wl,-z,noexecstack
    -L${MJ_BOARDS_DIR} -T ${board}.ld)
  target_link_libraries(${target} PRIVATE m)
  set_target_properties(${target} PROPERTIES
    SUFFIX .elf LINK_DEPENDS "${MJ_BOARDS_DIR}/${board}.ld;${MJ_BOARDS_DIR}/cortex_m.ld")
  _mj_run_target(${target} ${board})
endfunction()

# One instruction is one nanosecond of virtual time: counts are the same in every run.
function(_mj_run_target target board)
  find_program(MJ_QEMU_SYSTEM_ARM qemu-system-arm)
  if(MJ_QEMU_SYSTEM_ARM)
    set(command ${MJ_QEMU_SYSTEM_ARM} -M ${board} -nographic -monitor none -serial none
      -semihosting-config enable=on,target=native -icount shift=0 -kernel $<TARGET_FILE:${target}>)
  else()
    set(command ${CMAKE_COMMAND} -E echo "[board] no qemu-system-arm; run 'apt-get install qemu-system-arm' and configure again"
      COMMAND ${CMAKE_COMMAND} -E false)
  endif()
  add_custom_target(run COMMAND ${command} DEPENDS ${target} USES_TERMINAL VERBATIM)
endfunction()
