"""What Fireworks' clients ask for, by REST or gRPC alike: datasets and batch inference jobs. Knows no wire."""
