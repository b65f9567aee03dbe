# Finds LibTorch: the targets of its package, for all folders of a build.
if(NOT TARGET torch)
  find_package(Torch CONFIG QUIET)
  if(NOT TARGET torch)
    message(FATAL_ERROR "LibTorch was not found. Fix: -DCMAKE_PREFIX_PATH=/path/to/libtorch, or what "
      "python -c 'import torch; print(torch.utils.cmake_prefix_path)' prints")
  endif()
  foreach(part headeronly c10 c10_cuda torch_cpu torch_cpu_library torch_cuda torch_cuda_library
      torch torch_library caffe2::mkl)
    if(TARGET ${part})
      set_target_properties(${part} PROPERTIES IMPORTED_GLOBAL ON)
    endif()
  endforeach()
endif()
