namespace Peft.Models;

/// <summary>A record that carries tensors out of a forward, so that they outlive the dispose scope of the block that made them.</summary>
public interface IPassRecord
{
    /// <summary>Every tensor the record holds.</summary>
    IEnumerable<Tensor> Tensors { get; }
}
