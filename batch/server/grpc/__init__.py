"""The face of the Build SDK: ten methods over gRPC. grpcio and protobuf are imported here only. Knows no HTTP."""
