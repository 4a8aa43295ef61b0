"""The face of the Build SDK: its methods over gRPC. grpcio and protobuf are imported here only. Knows no HTTP."""
