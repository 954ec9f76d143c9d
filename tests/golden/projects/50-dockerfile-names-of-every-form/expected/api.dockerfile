FROM mirror.example.com/hub/library/redis:7
