target "app" {
  contexts = { alpine = "docker-image://${REG}/alpine:3" }
}
