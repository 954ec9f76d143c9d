variable "REG" { default = "mirror.example.com/hub/library" }
