variable "F" { default = "docker/dockerfile:1.4" }
target "default" {
  args = { BUILDKIT_SYNTAX = F }
  attest = ["type=sbom,generator=${F}-x"]
}
