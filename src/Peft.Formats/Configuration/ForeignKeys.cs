namespace Peft.Formats.Configuration;

/// <summary>
/// The keys of other tools that people bring along (transformers, TRL, PEFT, Axolotl, LLaMA-Factory, Unsloth,
/// torchtune, LitGPT, mlx-lm), and what to write here. One table: a key that has a name here is given with it, one that
/// has none with the reason. Keys are compared in lower case, with <c>-</c> as <c>_</c>.
/// </summary>
internal static class ForeignKeys
{
    private static readonly Dictionary<string, string> Ours = Table(
        ("learning_rate", "lr peak_lr max_lr base_learning_rate"),
        ("per_device_train_batch_size",
            "batch_size micro_batch_size train_batch_size per_device_batch_size per_gpu_train_batch_size"),
        ("per_device_eval_batch_size", "eval_batch_size val_batch_size per_gpu_eval_batch_size"),
        ("gradient_accumulation_steps",
            "grad_accum gradient_accumulation accumulate_grad_batches grad_accumulation_steps"),
        ("gradient_checkpointing",
            "use_gradient_checkpointing activation_checkpointing enable_activation_checkpointing grad_checkpoint"),
        ("num_train_epochs", "epochs num_epochs n_epochs max_epochs train_epochs"),
        ("max_steps", "steps iters num_steps max_train_steps max_iters max_steps_per_epoch train_steps"),
        ("lr_scheduler_type", "lr_scheduler scheduler lr_schedule schedule"),
        ("warmup_ratio", "lr_warmup_ratio"),
        ("warmup_steps", "num_warmup_steps lr_warmup_steps warmup"),
        ("optim", "optimizer"),
        ("weight_decay", "wd decay"),
        ("adam_beta1", "beta1"),
        ("adam_beta2", "beta2"),
        ("adam_epsilon", "adam_eps epsilon"),
        ("max_grad_norm", "grad_clip gradient_clip_val gradient_clipping clip_grad_norm max_norm"),
        ("logging_steps", "log_every log_every_n_steps log_steps steps_per_report logging_strategy log_interval"),
        ("save_steps", "save_every save_strategy save_interval checkpointing_steps"),
        ("save_total_limit", "max_checkpoints keep_checkpoints"),
        ("eval_steps",
            "eval_strategy evaluation_strategy eval_every eval_interval steps_per_eval evals_per_epoch do_eval"),
        ("early_stopping_patience", "patience early_stopping"),
        ("report_to", "logger use_wandb wandb_project log_with"),
        ("training.seed", "random_seed random_state data_seed manual_seed"),
        ("output_dir", "out_dir save_dir checkpoint_dir output output_path"),
        ("model_name_or_path",
            "base_model model_path model_id model_name checkpoint pretrained_model_name_or_path "
            + "base_model_name_or_path"),
        ("tokenizer", "tokenizer_name tokenizer_path tokenizer_name_or_path"),
        ("dtype", "torch_dtype precision bf16 fp16 half_precision model_dtype"),
        ("r", "rank lora_r lora_rank lora_dim adapter_dim"),
        ("lora_alpha", "alpha"),
        ("lora_dropout", "dropout"),
        ("use_rslora", "rslora rs_lora"),
        ("target_modules",
            "lora_target lora_target_modules lora_target_linear modules target_module lora_layers lora_keys"),
        ("exclude_modules", "exclude lora_exclude_modules"),
        ("layers_to_transform", "lora_layers_to_transform lora_on_layers"),
        ("max_length",
            "max_seq_length max_seq_len seq_len seq_length sequence_len sequence_length cutoff_len context_length "
                + "block_size"
            + " model_max_length max_tokens"),
        ("packing", "sample_packing pack packed pack_sequences"),
        ("train_on_prompt", "train_on_inputs train_on_input mask_prompt completion_only_loss assistant_only_loss"),
        ("shuffle", "shuffle_data shuffle_dataset"),
        ("train", "datasets dataset train_data train_file train_dataset dataset_name data_path"),
        ("eval", "validation test val_data eval_data val_set_size eval_dataset validation_file test_datasets"),
        ("limit", "max_samples max_train_samples num_samples"),
        ("count", "num_experts n_experts num_local_experts n_routed_experts"),
        ("top_k", "num_experts_per_tok num_experts_per_token experts_per_token moe_top_k"),
        ("coefficient", "router_aux_loss_coef aux_loss_coef load_balancing_coef"));

    private static readonly Dictionary<string, string> Reasons = Table(
        ("4-bit and 8-bit bases are not supported: use a checkpoint in bfloat16, float16 or float32, and model.dtype",
            "load_in_4bit load_in_8bit quantization quantization_config quantization_bit bnb_4bit_quant_type "
                + "bnb_4bit_compute_dtype"
            + " bnb_4bit_use_double_quant quantize qlora"),
        ("trained biases are not supported: take the key out", "bias lora_bias bias_trainable"),
        ("modules that are trained whole are named by adapter.modules_to_save", "lora_modules_to_save"),
        ("adapters are trained on causal language models only: take the key out", "task_type peft_type inference_mode"),
        ("one process trains on one device: take the key out; choose the device with --device, or start several with "
            + "mpirun",
            "deepspeed fsdp fsdp_config ddp_find_unused_parameters local_rank num_gpus devices num_processes "
                + "tensor_parallel_size"),
        ("attention and kernels are chosen by the program: take the key out",
            "flash_attention attn_implementation use_flash_attention_2 flash_attn xformers_attention torch_compile "
                + "compile"
            + " use_liger_kernel liger_kernel tf32"),
        ("preference and reinforcement training are not supported: take the key out",
            "beta rl reward_model dpo_beta loss_type ref_model"),
        ("a prompt's form is written in data.train[].template",
            "chat_template template_name prompt_template conversation_template"
            + " dataset_text_field text_column instruction_template"),
        ("nothing is uploaded: take the key out, and export the adapter with peft export",
            "push_to_hub hub_model_id hub_token hub_strategy hf_use_auth_token"),
        ("data is read by the process that trains: take the key out",
            "dataloader_num_workers num_workers dataset_num_proc preprocessing_num_workers dataloader_pin_memory"),
        ("unused columns are never read: take the key out", "remove_unused_columns"),
        ("the run continues by itself when the same command is given again: take the key out",
            "resume_from_checkpoint resume resume_from auto_resume_from_checkpoints"));

    /// <summary>What to do about a key that nothing here has, as advice; null where the key is not one of another
    /// tool.</summary>
    /// <param name="key">The key as written.</param>
    /// <param name="paths">The dotted path of every key that is known here.</param>
    public static string? AdviceOn(string key, IReadOnlyDictionary<string, string> paths)
    {
        var name = key.ToLowerInvariant().Replace('-', '_');
        if (Ours.TryGetValue(name, out var ours))
            return paths.TryGetValue(ours, out var path) ? $"here it is called {path}{Form(name, path)}" : null;
        return Reasons.GetValueOrDefault(name);
    }

    // Where the value has another form, too.
    private static string Form(string name, string path) => name switch
    {
        _ when name.EndsWith("_strategy", StringComparison.Ordinal) => ", a number of steps",
        "bf16" or "fp16" => $": write {path}: {(name == "bf16" ? "bfloat16" : "float16")}",
        "use_wandb" or "wandb_project" or "log_with" => ": tensorboard or none",
        "lora_target_linear" => $": write {path}: all-linear",
        "val_set_size" => ", a data set of its own (a share of the training rows is taken with filter and split_hash)",
        _ => "",
    };

    private static Dictionary<string, string> Table(params ReadOnlySpan<(string To, string From)> rows)
    {
        var table = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (to, from) in rows)
        {
            foreach (var name in from.Split(' '))
                table.Add(name, to);
        }

        return table;
    }
}
