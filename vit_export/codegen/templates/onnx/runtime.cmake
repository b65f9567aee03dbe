set(ONNXRUNTIME_ROOT "" CACHE PATH "An unpacked release of ONNX Runtime: include/ and lib/")
find_path(ONNXRUNTIME_INCLUDE onnxruntime_cxx_api.h HINTS ${ONNXRUNTIME_ROOT}
  PATH_SUFFIXES include onnxruntime include/onnxruntime NO_CACHE)
find_library(ONNXRUNTIME_LIBRARY onnxruntime HINTS ${ONNXRUNTIME_ROOT} PATH_SUFFIXES lib lib64 NO_CACHE)
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
