variable "REG" { default = "docker.io/acme" }
variable "KIND" { default = "ghcr.io" }
variable "TWO" { default = "docker.io" }
target "app" {
  tags = ["${REG}/app:1"]
  contexts = {
    base = "docker-image://${REG}/base:1"
    tool = "docker-image://${KIND}/acme/tool"
    a    = "docker-image://${TWO}/redis"
    b    = "docker-image://${TWO}/bitnami/redis"
  }
  labels = KIND == "ghcr.io" ? { a = "b" } : {}
}
