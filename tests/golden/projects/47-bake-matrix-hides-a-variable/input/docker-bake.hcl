variable "REG" { default = "docker.io/library" }
variable "IMG" { default = "${REG}/golang" }
variable "NESTED" { default = "ghcr.io/acme" }
variable "DEEP" { default = "${NESTED}/deep" }
target "app" {
  name = "app-${REG}"
  matrix = { REG = ["a", "b"] }
  contexts = { go = "docker-image://${IMG}:1" }
}
target "other" {
  contexts = { deep = "docker-image://${DEEP}:1" }
}
