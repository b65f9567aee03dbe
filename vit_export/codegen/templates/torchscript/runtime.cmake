find_package(Torch CONFIG QUIET)
if(NOT TARGET torch)
  message(FATAL_ERROR "LibTorch was not found. Fix: -DCMAKE_PREFIX_PATH=/path/to/libtorch, or what "
    "python -c 'import torch; print(torch.utils.cmake_prefix_path)' prints")
endif()
