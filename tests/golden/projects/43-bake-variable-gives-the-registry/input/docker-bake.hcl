variable "REG" {
  default = "docker.io/library"
}
variable "BASE" { default = "debian:12" }
variable "CONTEXT" {
  default = "docker-image://busybox:1"
}
variable "TAG" { default = "" }

target "app" {
  args = {
    BASE = BASE
    NODE = "${REG}/node:${TAG}"
  }
  contexts = {
    alpine  = "docker-image://${REG}/alpine:3"
    busybox = CONTEXT
  }
}
