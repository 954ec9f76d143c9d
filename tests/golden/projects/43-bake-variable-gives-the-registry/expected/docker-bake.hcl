variable "REG" {
  default = "mirror.example.com/hub/library"
}
variable "BASE" { default = "mirror.example.com/hub/library/debian:12" }
variable "CONTEXT" {
  default = "docker-image://mirror.example.com/hub/library/busybox:1"
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
