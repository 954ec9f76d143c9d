target "a" {
  context = "."
  contexts = { redis = "docker-image://redis:7" }
}
