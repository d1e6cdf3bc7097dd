global using Peft.Torch;
