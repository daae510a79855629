"""What a recipe needs before a GPU is rented: parameters, memory, time, disk, money. Nothing here imports torch."""
