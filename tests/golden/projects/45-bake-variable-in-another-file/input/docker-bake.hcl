variable "REG" { default = "docker.io/library" }
