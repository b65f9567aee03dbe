# Finds ONNX Runtime: the target onnxruntime::onnxruntime, for all folders of a build.
if(NOT TARGET onnxruntime::onnxruntime)
  set(ONNXRUNTIME_ROOT "" CACHE PATH "An unpacked release of ONNX Runtime: include/ and lib/")
  unset(ONNXRUNTIME_INCLUDE CACHE)  # another root selects another runtime
  unset(ONNXRUNTIME_LIBRARY CACHE)
  find_path(ONNXRUNTIME_INCLUDE onnxruntime_cxx_api.h HINTS ${ONNXRUNTIME_ROOT}
    PATH_SUFFIXES include onnxruntime include/onnxruntime)
  find_library(ONNXRUNTIME_LIBRARY onnxruntime HINTS ${ONNXRUNTIME_ROOT} PATH_SUFFIXES lib lib64)
  if(ONNXRUNTIME_INCLUDE AND ONNXRUNTIME_LIBRARY)
    add_library(onnxruntime::onnxruntime UNKNOWN IMPORTED)
    set_target_properties(onnxruntime::onnxruntime PROPERTIES
      IMPORTED_LOCATION ${ONNXRUNTIME_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${ONNXRUNTIME_INCLUDE})
  else()
    find_package(onnxruntime CONFIG QUIET)
  endif()
  if(NOT TARGET onnxruntime::onnxruntime)
    message(FATAL_ERROR "ONNX Runtime was not found. Fix: -DONNXRUNTIME_ROOT=/path/to/its/release")
  endif()
  set_target_properties(onnxruntime::onnxruntime PROPERTIES IMPORTED_GLOBAL ON)
endif()
