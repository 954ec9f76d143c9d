target "a" {
  context = "."
  contexts = { redis = "docker-image://mirror.example.com/hub/library/redis:7" }
}
